//! Messages in the protobuf JSON mapping, from the descriptors that the binary carries.
//!
//! Fields at their defaults are written, so that a program finds `"changed": false` and `"models": []`; what is absent is
//! left out. Rejected: serde on the generated types, a second description of the same fields.

use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::Serializer;

use super::{exit::Stop, text};
use crate::grpc::proto::DESCRIPTORS;

/// One line of JSON. `name` is the message's, `ichat.modelcontrol.v1.ListResponse`.
///
/// Characters that could drive a terminal are escaped; only strings can hold them, where the escape means the same.
pub(super) fn render<M: prost::Message>(name: &str, message: &M) -> Result<String, Stop> {
    let fault =
        |what: &dyn std::fmt::Display| Stop::Output(std::io::Error::other(format!("no JSON of {name}: {what}")));
    let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|e| fault(&e))?;
    let descriptor = pool
        .get_message_by_name(name)
        .ok_or_else(|| fault(&"not in the descriptors"))?;
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).map_err(|e| fault(&e))?;
    let mut bytes = Vec::new();
    dynamic
        .serialize_with_options(
            &mut Serializer::new(&mut bytes),
            &SerializeOptions::new().skip_default_fields(false),
        )
        .map_err(|e| fault(&e))?;
    let json = String::from_utf8(bytes).map_err(|e| fault(&e))?;
    Ok(text::harmless_json(json))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::grpc::proto::v1;

    #[test]
    fn messages_follow_the_protobuf_mapping() {
        let message = v1::EnsureReadyResponse {
            event: Some(v1::ensure_ready_response::Event::Result(v1::EnsureReadyResult {
                model: Some(v1::Model {
                    canonical_name: "registry.ollama.ai/library/a:latest".to_owned(),
                    size_bytes: 1 << 60,
                    modify_time: Some(prost_types::Timestamp {
                        seconds: 1,
                        nanos: 500_000_000,
                    }),
                    level: v1::Level::OnDisk.into(),
                    ..v1::Model::default()
                }),
                plan: None,
                changed: false,
            })),
        };
        let text = render("ichat.modelcontrol.v1.EnsureReadyResponse", &message).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let result = &value["result"];
        assert_eq!(result["changed"], json!(false));
        assert!(result.get("plan").is_none(), "{text}");
        assert_eq!(result["model"]["canonicalName"], "registry.ollama.ai/library/a:latest");
        assert_eq!(result["model"]["sizeBytes"], json!((1u64 << 60).to_string()));
        assert_eq!(result["model"]["modifyTime"], "1970-01-01T00:00:01.500Z");
        assert_eq!(result["model"]["level"], "LEVEL_ON_DISK");
        assert_eq!(result["model"]["families"], json!([]));
        assert!(result["model"].get("parameterCount").is_none());
    }

    #[test]
    fn a_name_cannot_drive_the_terminal_and_reads_the_same() {
        let name = "a\u{1b}]0;x\u{7}\u{9b}\u{202e}é";
        let message = v1::ListResponse {
            models: vec![v1::Model {
                name: name.to_owned(),
                ..v1::Model::default()
            }],
            ..v1::ListResponse::default()
        };
        let text = render("ichat.modelcontrol.v1.ListResponse", &message).unwrap();
        assert!(!text.chars().any(text::unsafe_on_terminal));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["models"][0]["name"], name);
    }
}
