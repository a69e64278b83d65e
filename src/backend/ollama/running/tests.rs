//! Lists of a real Ollama 0.34, and dates.

use super::*;
use crate::backend::ollama::recorded;

fn listed(name: &str) -> Vec<Running> {
    let (_, body) = recorded::answer(name);
    let told: Processes = serde_json::from_str(&body).unwrap();
    told.models.iter().filter_map(running).collect()
}

#[test]
fn what_is_in_memory_is_read_as_it_is_listed() {
    let [one] = &listed("ps-forever")[..] else { panic!() };
    assert_eq!(one.name.to_string(), "tiny:latest");
    assert_eq!((one.size_bytes, one.size_vram_bytes), (2_076_179, 0));
    assert_eq!((one.context_length, one.expire_time), (Some(512), None));
    assert_eq!(
        one.digest.as_ref().unwrap().hex(),
        "4af740fd38cad1d58e09129b2e87a399b804c7c05aafb15a97706836b50a655e"
    );
    let both = listed("ps-embedding");
    assert_eq!(both.len(), 2);
    assert!(both.iter().all(|one| one.expire_time.is_some()));
}

#[test]
fn what_is_no_model_hides_no_other() {
    let json = r#"{"models":[{"name":"a b"},{"name":"m","size":-1,"digest":"short","expires_at":"soon"}]}"#;
    let told: Processes = serde_json::from_str(json).unwrap();
    let read: Vec<_> = told.models.iter().filter_map(running).collect();
    let [one] = &read[..] else { panic!() };
    assert_eq!((one.size_bytes, &one.digest, one.expire_time), (0, &None, None));
    let none: Processes = serde_json::from_str(r#"{"models":null}"#).unwrap();
    assert!(none.models.is_empty());
}
