//! Lists: pages, orders, and engines that are down.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use model_control::engines::Entry;

use super::{calls::*, support::*};

async fn list(client: &mut Client, request: v1::ListRequest) -> Result<v1::ListResponse, Status> {
    Ok(soon(client.list(request)).await?.into_inner())
}

fn page(size: i32, token: &str) -> v1::ListRequest {
    v1::ListRequest {
        page_size: size,
        page_token: token.into(),
        ..Default::default()
    }
}

fn names(page: &v1::ListResponse) -> Vec<&str> {
    page.models
        .iter()
        .map(|model| model.name.trim_end_matches(":latest"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_have_a_hundred_models_and_at_most_a_thousand() {
    let engine = Scripted::new();
    for number in 0..1050 {
        engine.put(&name(&format!("m{number:04}")), "content");
    }
    let service = Service::start(engine, None).await;
    let mut client = service.client().await;

    let first = list(&mut client, page(0, "")).await.unwrap();
    assert_eq!(first.models.len(), 100);
    let largest = list(&mut client, page(i32::MAX, "")).await.unwrap();
    assert_eq!(largest.models.len(), 1000);
    let rest = list(&mut client, page(1000, &largest.next_page_token)).await.unwrap();
    assert_eq!((rest.models.len(), rest.next_page_token.as_str()), (50, ""));
    let exact = list(&mut client, page(50, &largest.next_page_token)).await.unwrap();
    assert_eq!(exact.next_page_token, "", "a full last page is the last one");

    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&mut client, page(300, &token)).await.unwrap();
        all.extend(page.models.into_iter().map(|model| model.name));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    let wanted: Vec<_> = (0..1050).map(|number| format!("m{number:04}:latest")).collect();
    assert_eq!(all, wanted);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_stay_right_while_models_come_and_go() {
    for order in ["", "name desc", "modify_time", "size_bytes desc"] {
        let engine = Scripted::new();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (number, model) in ["b", "d", "f", "h", "j", "l"].into_iter().enumerate() {
            engine.put_at(
                &name(model),
                &"x".repeat(10 * (number + 1)),
                at(10 * number as u64 + 10),
            );
        }
        let service = Service::start(engine.clone(), None).await;
        let mut client = service.client().await;
        let request = |token: &str| v1::ListRequest {
            order_by: order.into(),
            ..page(2, token)
        };
        let descending = order.ends_with("desc");

        let first = list(&mut client, request("")).await.unwrap();
        let expected = if descending { ["l", "j"] } else { ["b", "d"] };
        assert_eq!(names(&first), expected, "{order}");
        // The one that the token names goes, another comes before it, and one behind it.
        engine.remove(&name(expected[1]));
        engine.put_at(&name("a"), "x", at(1));
        engine.put_at(&name("m"), &"x".repeat(100), at(100));
        engine.put_at(&name("g"), &"x".repeat(35), at(35));
        engine.remove(&name("h"));
        let (mut rest, mut token) = (Vec::new(), first.next_page_token);
        while !token.is_empty() {
            let page = list(&mut client, request(&token)).await.unwrap();
            rest.extend(names(&page).into_iter().map(str::to_owned));
            token = page.next_page_token;
        }
        let expected: &[&str] = if descending {
            &["g", "f", "d", "b", "a"]
        } else {
            &["f", "g", "j", "l", "m"]
        };
        assert_eq!(rest, expected, "{order}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_total_and_go_both_ways() {
    let engine = Scripted::new();
    for (model, size, modify) in [("a", 3, 2), ("b", 1, 3), ("c", 3, 1), ("d", 2, 2)] {
        let modify = SystemTime::UNIX_EPOCH + Duration::from_secs(modify);
        engine.put_at(&name(model), &"x".repeat(size), modify);
    }
    let service = Service::start(engine, None).await;
    let mut client = service.client().await;
    for (order, expected) in [
        ("", "abcd"),
        ("name", "abcd"),
        ("name desc", "dcba"),
        ("modify_time", "cadb"),
        ("modify_time desc", "bdac"),
        ("size_bytes", "bdac"),
        ("size_bytes desc", "cadb"),
    ] {
        let request = v1::ListRequest {
            order_by: order.into(),
            ..Default::default()
        };
        let listed = list(&mut client, request).await.unwrap();
        assert_eq!(names(&listed).concat(), expected, "{order}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_token_order_or_size_is_refused() {
    let engine = Scripted::new();
    for model in ["a", "b"] {
        engine.put(&name(model), "content");
    }
    let service = Service::start(engine, None).await;
    let mut client = service.client().await;
    let token = list(&mut client, page(1, "")).await.unwrap().next_page_token;
    assert!(!token.is_empty());
    let ordered = |order: &str, token: &str| v1::ListRequest {
        order_by: order.into(),
        ..page(1, token)
    };
    let odd = "0".repeat(100_001);
    for (request, field) in [
        (page(-1, ""), "page_size"),
        (page(1, "junk"), "page_token"),
        (page(1, "é"), "page_token"),
        (page(1, &token[1..]), "page_token"),
        (page(1, &token[..token.len() - 2]), "page_token"),
        (page(1, &odd[..30_000]), "page_token"),
        (ordered("name desc", &token), "page_token"),
        (ordered("size_bytes", &token), "page_token"),
        (ordered("size", ""), "order_by"),
        (ordered("name asc", ""), "order_by"),
        (ordered(" desc", ""), "order_by"),
        (ordered("name,size_bytes", ""), "order_by"),
    ] {
        let status = list(&mut client, request.clone()).await.unwrap_err();
        assert_eq!(
            told(&status),
            is(Code::InvalidArgument, "REQUEST_INVALID"),
            "{request:?}"
        );
        assert_eq!(fields(&status), [field], "{request:?}");
    }
    // The default order by another name is the same order.
    assert_eq!(names(&list(&mut client, ordered("name", &token)).await.unwrap()), ["b"]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_down_hides_no_other() {
    let (one, two) = (Scripted::new(), Scripted::new());
    for engine in [&one, &two] {
        engine.put(&name("same"), "content");
    }
    two.put(&name("a"), "content");
    let mut plan = Plan::new(one.clone());
    plan.entries.push(entry("two", two.clone()));
    plan.entries.push(unsupported("alien"));
    let service = plan.start().await;
    let mut client = service.client().await;
    let of = |backend: &str| v1::ListRequest {
        backend: backend.into(),
        ..Default::default()
    };

    let whole = list(&mut client, of("")).await.unwrap();
    let told_of: Vec<_> = whole
        .models
        .iter()
        .map(|m| (m.name.as_str(), m.backend.as_str()))
        .collect();
    assert_eq!(
        told_of,
        [("a:latest", "two"), ("same:latest", "one"), ("same:latest", "two")]
    );
    assert!(
        whole.unreachable.is_empty(),
        "an unknown framework is no engine that is down"
    );
    // The same model of two backends lies on two pages, and each is told once.
    let first = list(&mut client, page(2, "")).await.unwrap();
    let second = list(&mut client, page(2, &first.next_page_token)).await.unwrap();
    assert_eq!(second.models[0].backend, "two");
    assert_eq!((second.models.len(), second.next_page_token.as_str()), (1, ""));

    one.set_reachable(false);
    let part = list(&mut client, of("")).await.unwrap();
    assert_eq!(names(&part), ["a", "same"]);
    assert_eq!(part.unreachable.len(), 1);
    assert_eq!(part.unreachable[0].backend, "one");
    let failure = part.unreachable[0].failure.clone().unwrap();
    assert_eq!((failure.code, failure.reason.as_str()), (14, "BACKEND_UNREACHABLE"));
    let status = list(&mut client, of("one")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::Unavailable, "BACKEND_UNREACHABLE"));
    assert_eq!(metadata(&status, "backend"), "one");
    assert!(retry_delay(&status).is_some());
    assert_eq!(list(&mut client, of("two")).await.unwrap().models.len(), 2);

    two.set_reachable(false);
    let status = list(&mut client, of("")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::Unavailable, "BACKEND_UNREACHABLE"));
    assert!(retry_delay(&status).is_some_and(|delay| delay > Duration::ZERO));

    let status = list(&mut client, of("three")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::NotFound, "BACKEND_NOT_FOUND"));
    assert_eq!(metadata(&status, "backend"), "three");
    service.stop().await;
}

fn unsupported(name: &str) -> Entry {
    Entry {
        name: name.into(),
        framework: "vllm".into(),
        engine: None,
        desired: vec![],
        advertise: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_framework_is_told_when_it_is_named_and_is_never_the_default() {
    let engine = Scripted::new();
    engine.put(&name("m"), "content");
    let mut plan = Plan::new(engine);
    plan.entries.insert(0, unsupported("alien"));
    let service = plan.start().await;
    let mut client = service.client().await;
    let alien = "alien".to_owned();
    let request = v1::ListRequest {
        backend: alien.clone(),
        ..Default::default()
    };
    let unsupported = is(Code::Unimplemented, "FRAMEWORK_NOT_SUPPORTED");
    let status = list(&mut client, request).await.unwrap_err();
    assert_eq!(told(&status), unsupported);
    assert_eq!(metadata(&status, "framework"), "vllm");
    let request = v1::EnsureReadyRequest {
        backend: alien,
        ..ensure("m")
    };
    assert_eq!(told(&ensured(&mut client, request).await.unwrap_err()), unsupported);
    let model = ensured(&mut client, ensure("m")).await.unwrap().model.unwrap();
    assert_eq!(model.backend, "one");
    let described = soon(client.describe(v1::DescribeRequest::default())).await.unwrap();
    let backends: Vec<_> = described.into_inner().backends.iter().map(v1::Backend::state).collect();
    assert_eq!(backends[0], v1::backend::State::Unsupported);
    service.stop().await;

    let mut plan = Plan::new(Scripted::new());
    plan.entries = vec![self::unsupported("alien")];
    let service = plan.start().await;
    let mut client = service.client().await;
    assert!(list(&mut client, page(0, "")).await.unwrap().models.is_empty());
    let status = ensured(&mut client, ensure("m")).await.unwrap_err();
    assert_eq!(told(&status), is(Code::NotFound, "BACKEND_NOT_FOUND"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_model_tells_its_names_and_levels() {
    let engine = Scripted::new();
    for model in ["m", "plain", "host.example/space/M:Tag"] {
        engine.put(&name(model), "content");
    }
    let service = configured(engine, [desired("m")]).start().await;
    let listed = list(&mut service.client().await, page(0, "")).await.unwrap();
    let canonical: BTreeSet<_> = listed
        .models
        .iter()
        .map(|model| model.canonical_name.as_str())
        .collect();
    assert_eq!(
        canonical,
        BTreeSet::from([
            "host.example/space/M:Tag",
            "registry.ollama.ai/library/m:latest",
            "registry.ollama.ai/library/plain:latest"
        ])
    );
    for model in &listed.models {
        assert_eq!(model.digest, digest("content"));
        assert_eq!(model.size_bytes, 7);
        assert_eq!(
            (model.level(), model.desired_level()),
            (v1::Level::OnDisk, v1::Level::OnDisk)
        );
    }
    service.stop().await;
}
