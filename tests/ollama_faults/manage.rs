//! Answers to a delete or a copy that are lost.

use tonic::Code;

use super::{
    calls,
    ollama_double::{Answer, Route},
    support::{soon, v1},
    world,
    world::tiny,
};

fn delete() -> v1::DeleteRequest {
    v1::DeleteRequest {
        model: "m".to_owned(),
        ..Default::default()
    }
}

/// The connection broke after Ollama had done it: it is not asked a second time, and the list tells.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_without_an_answer_is_done() {
    let world = world().await;
    let made = world.create("m", &tiny(0)).await.unwrap().model.unwrap();
    let double = world.ground.double();
    let mut client = world.client.clone();
    double.on(Route::Copy, Answer::Unanswered);
    let copy = v1::CopyRequest {
        source: "m".to_owned(),
        destination: "n".to_owned(),
        ..Default::default()
    };
    let copied = soon(client.copy(copy)).await.unwrap().into_inner().result.unwrap();
    assert_eq!(copied.model.unwrap().digest, made.digest);
    double.on(Route::Delete, Answer::Unanswered);
    let deleted = soon(client.delete(delete())).await.unwrap().into_inner();
    assert_eq!(deleted.result.unwrap().freed_bytes, 0, "another has its weights");
    assert_eq!((double.asked(Route::Copy), double.asked(Route::Delete)), (1, 1));
    let left: Vec<_> = world.list().await.into_iter().map(|model| model.name).collect();
    assert_eq!(left, ["n:latest"]);
}

/// Nothing was done: the failure is told as it came.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_done_is_a_failure() {
    let world = world().await;
    world.create("m", &tiny(0)).await.unwrap();
    let double = world.ground.double();
    for (status, body, code, reason) in [
        (
            404,
            "{\"error\":\"model 'm' not found\"}",
            Code::NotFound,
            "MODEL_NOT_FOUND",
        ),
        (504, "", Code::Unavailable, "BACKEND_UNREACHABLE"),
        (
            500,
            "{\"error\":\"unexpected EOF\"}",
            Code::InvalidArgument,
            "MODEL_FILE_INVALID",
        ),
    ] {
        let before = double.asked(Route::Delete);
        double.on(Route::Delete, Answer::Json(status, body.to_owned()));
        let status = soon(world.client.clone().delete(delete())).await.unwrap_err();
        assert_eq!(calls::told(&status), calls::is(code, reason), "{status:?}");
        assert_eq!(double.asked(Route::Delete), before + 1);
    }
    assert_eq!(world.list().await.len(), 1);
}
