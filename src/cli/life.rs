//! `load`, `unload`, `ps`, `delete`, `copy`, `push`: the life of a model that is there.

use std::time::SystemTime;

use prost_types::Timestamp;
use tonic::Request;

use super::{
    Context,
    ensure::{on_disconnect, on_leave, told_model},
    exit::Stop,
    follow::tell,
    list::note_unreachable,
    stay::StayArgs,
    table::render,
    text::{age, duration, enum_word, printable, short_digest, size},
};
use crate::grpc::proto::v1::{
    CopyRequest, DeleteRequest, Level, ListRunningRequest, LoadRequest, LoadResult, PushRequest, PushResult,
    RunningModel, UnloadRequest, running_model::State,
};

/// What `load` takes.
#[derive(Debug, clap::Args)]
pub struct LoadArgs {
    /// The model, like `llama3`
    model: String,

    /// Ask it for a first token too
    #[arg(long)]
    warm: bool,

    #[command(flatten)]
    stay: StayArgs,

    /// Let the server cancel the work when this command is left, unless somebody else waits for it
    #[arg(long)]
    cancel_on_disconnect: bool,
}

/// What `unload` takes.
#[derive(Debug, clap::Args)]
pub struct UnloadArgs {
    /// The model, like `llama3`
    model: String,
}

/// What `delete` takes.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// The model, like `llama3`
    model: String,

    /// Unload it first when it is loaded
    #[arg(long)]
    unload: bool,

    /// It is no failure when it is absent
    #[arg(long)]
    allow_missing: bool,

    /// Although the server's configuration wants it
    #[arg(long)]
    force: bool,
}

/// What `copy` takes.
#[derive(Debug, clap::Args)]
pub struct CopyArgs {
    /// The model, like `llama3`
    source: String,

    /// Its second name
    destination: String,

    /// Replace a model of that name
    #[arg(long)]
    replace: bool,
}

/// What `push` takes.
#[derive(Debug, clap::Args)]
pub struct PushArgs {
    /// The model; its host names the registry: `registry.example.com/team/model:tag`
    model: String,

    /// Plain http to the registry, where the server allows it
    #[arg(long)]
    insecure: bool,

    /// Let the server cancel the work when this command is left, unless somebody else waits for it
    #[arg(long)]
    cancel_on_disconnect: bool,
}

pub(super) async fn load(args: LoadArgs, cx: &mut Context) -> Result<(), Stop> {
    let level = if args.warm { Level::Warm } else { Level::Loaded };
    let request = LoadRequest {
        backend: cx.backend(),
        model: args.model,
        level: level.into(),
        load_options: args.stay.load_options(),
        keep_alive: args.stay.keep_alive(),
        pin: args.stay.pin,
        on_disconnect: on_disconnect(args.cancel_on_disconnect),
    };
    let mut client = cx.model_control().await?;
    let on_leave = on_leave(args.cancel_on_disconnect);
    tell(cx, client.load(Request::new(request)), on_leave, loaded).await
}

pub(super) async fn unload(args: UnloadArgs, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.model_control().await?;
    let model = printable(&args.model).into_owned();
    let request = cx.request(UnloadRequest {
        backend: cx.backend(),
        model: args.model,
    });
    let answer = cx.answer(client.unload(request)).await?;
    cx.console
        .result("ichat.modelcontrol.v1.UnloadResponse", &answer, |answer| {
            let result = answer.result.clone().unwrap_or_default();
            let with: Vec<_> = result.shared_with.iter().map(|name| printable(name)).collect();
            match (result.freed_bytes, with.is_empty()) {
                (0, _) => format!("{model} was not loaded"),
                (bytes, true) => format!("{model} is unloaded: {} of memory came free", size(bytes)),
                (bytes, false) => format!(
                    "{model} is unloaded, and with it {}: {} of memory came free",
                    with.join(", "),
                    size(bytes)
                ),
            }
        })
}

pub(super) async fn delete(args: DeleteArgs, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.model_control().await?;
    let model = printable(&args.model).into_owned();
    let request = cx.request(DeleteRequest {
        backend: cx.backend(),
        model: args.model,
        unload: args.unload,
        allow_missing: args.allow_missing,
        force: args.force,
    });
    let answer = cx.answer(client.delete(request)).await?;
    cx.console
        .result("ichat.modelcontrol.v1.DeleteResponse", &answer, |answer| {
            let freed = answer.result.as_ref().map_or(0, |result| result.freed_bytes);
            format!("{model} is removed: {} came free", size(freed))
        })
}

pub(super) async fn copy(args: CopyArgs, cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.model_control().await?;
    let source = printable(&args.source).into_owned();
    let request = cx.request(CopyRequest {
        backend: cx.backend(),
        source: args.source,
        destination: args.destination,
        replace: args.replace,
    });
    let answer = cx.answer(client.copy(request)).await?;
    cx.console
        .result("ichat.modelcontrol.v1.CopyResponse", &answer, |answer| {
            let model = answer.result.as_ref().and_then(|result| result.model.as_ref());
            format!("{} is a copy of {source}", told_model(model))
        })
}

pub(super) async fn push(args: PushArgs, cx: &mut Context) -> Result<(), Stop> {
    let request = PushRequest {
        backend: cx.backend(),
        model: args.model,
        insecure: args.insecure,
        on_disconnect: on_disconnect(args.cancel_on_disconnect),
    };
    let mut client = cx.model_control().await?;
    let on_leave = on_leave(args.cancel_on_disconnect);
    tell(cx, client.push(Request::new(request)), on_leave, pushed).await
}

pub(super) async fn ps(cx: &mut Context) -> Result<(), Stop> {
    let mut client = cx.model_control().await?;
    let request = cx.request(ListRunningRequest { backend: cx.backend() });
    let answer = cx.answer(client.list_running(request)).await?;
    cx.console
        .result("ichat.modelcontrol.v1.ListRunningResponse", &answer, |answer| {
            table(&answer.running, SystemTime::now())
        })?;
    note_unreachable(cx, &answer.unreachable);
    Ok(())
}

pub(super) fn loaded(result: &LoadResult) -> String {
    let Some(running) = &result.running else {
        return "loaded".to_owned();
    };
    let how = if result.changed {
        "is loaded"
    } else {
        "was loaded already"
    };
    let warm = running.canary.as_ref().and_then(|canary| canary.time_to_first_token);
    let warm = warm.map(|time| {
        let milliseconds = time.seconds * 1000 + i64::from(time.nanos) / 1_000_000;
        format!(", and answered after {milliseconds} ms")
    });
    format!(
        "{} on {} {how} ({}){}: {}",
        printable(&running.name),
        printable(&running.backend),
        size(running.size_bytes),
        warm.unwrap_or_default(),
        printable(&running.endpoint)
    )
}

pub(super) fn pushed(result: &PushResult) -> String {
    let how = if result.changed {
        "is in the registry now"
    } else {
        "was in the registry already"
    };
    match short_digest(&result.digest) {
        digest if digest.is_empty() => format!("the model {how}"),
        digest => format!("the model {how} ({digest})"),
    }
}

fn table(running: &[RunningModel], now: SystemTime) -> String {
    let rows = running.iter().map(|model| {
        vec![
            model.name.clone(),
            model.backend.clone(),
            short_digest(&model.digest).into_owned(),
            size(model.size_bytes),
            model.context_length.to_string(),
            state_word(model.state),
            if model.canary.is_some() { "warm" } else { "loaded" }.to_owned(),
            stays(model, now),
            model.endpoint.clone(),
        ]
    });
    render(
        &[
            "NAME", "BACKEND", "DIGEST", "SIZE", "CONTEXT", "STATE", "LEVEL", "STAYS", "ENDPOINT",
        ],
        rows,
    )
}

/// How long it stays: `pinned`, `4m`, `until unloaded`.
fn stays(model: &RunningModel, now: SystemTime) -> String {
    if model.pinned {
        return "pinned".to_owned();
    }
    match &model.expire_time {
        None => "until unloaded".to_owned(),
        Some(time) => {
            left(time, now).map_or_else(|| age(Some(time), now), |seconds| format!("{} more", duration(seconds)))
        }
    }
}

fn left(time: &Timestamp, now: SystemTime) -> Option<i64> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let left = time.seconds - i64::try_from(now).ok()?;
    (left >= 0).then_some(left)
}

fn state_word(state: i32) -> String {
    match State::try_from(state) {
        Ok(State::Unspecified) => String::new(),
        Ok(state) => enum_word(state.as_str_name(), "STATE_"),
        Err(_) => state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::grpc::proto::v1;

    #[test]
    fn running_models_are_told_with_how_long_they_stay() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let model = |name: &str| RunningModel {
            name: name.to_owned(),
            backend: "o".to_owned(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            size_bytes: 19_000_000,
            context_length: 512,
            state: State::Ready.into(),
            endpoint: "http://h:1".to_owned(),
            ..RunningModel::default()
        };
        let expiring = RunningModel {
            expire_time: Some(Timestamp {
                seconds: 1240,
                nanos: 0,
            }),
            canary: Some(v1::Canary::default()),
            ..model("b:latest")
        };
        let pinned = RunningModel {
            pinned: true,
            ..model("c:latest")
        };
        let text = table(&[model("a:latest"), expiring, pinned], now);
        let lines: Vec<_> = text.lines().collect();
        assert!(
            lines[1].contains("until unloaded") && lines[1].contains("loaded"),
            "{text}"
        );
        assert!(lines[2].contains("4m more") && lines[2].contains("warm"), "{text}");
        assert!(
            lines[3].contains("pinned") && lines[3].ends_with("http://h:1"),
            "{text}"
        );
    }
}
