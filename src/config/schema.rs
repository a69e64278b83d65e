//! The file of backends as a JSON schema, for editors and for whoever checks it before it reaches this program.
//!
//! Draft-07, and patterns without look-around: validators in Go have neither more. It holds what a schema can tell, from
//! the same tables that the file is read with; order and values of flags are `config check`'s to judge. Entries stay open,
//! as the file belongs to other programs too.

use serde_json::{Value, json};

use super::{
    argv::{EMBEDDED, OLLAMA, Table},
    entry::MAX_NAME,
};

/// The schema as text, with a line feed at its end.
pub fn schema() -> String {
    format!("{:#}\n", document())
}

fn document() -> Value {
    let known: Vec<_> = [&EMBEDDED, &OLLAMA].into_iter().map(rule).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "The backends of model-control",
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "required": ["name", "framework"],
            "properties": {
                "name": {
                    "description": "Unique among the entries.",
                    "type": "string",
                    "pattern": format!("^[A-Za-z0-9._-]{{1,{MAX_NAME}}}$"),
                },
                "framework": {
                    "description": "What the backend talks to. An entry of another than these is only listed: its other \
                                    keys are not looked at.",
                    "type": "string",
                    "minLength": 1,
                    "examples": [EMBEDDED.framework(), OLLAMA.framework()],
                },
            },
            "allOf": known,
        },
    })
}

/// What holds for entries of one framework.
fn rule(table: &Table) -> Value {
    json!({
        "if": {
            "required": ["framework"],
            "properties": { "framework": { "const": table.framework() } },
        },
        "then": {
            "properties": {
                "backend_argv": {
                    "description": "Flags: `--flag=value`, or `--flag` and its value as the next item.",
                    "type": ["array", "null"],
                    "items": { "type": ["string", "number", "boolean"], "pattern": word(table) },
                },
            },
        },
    })
}

/// A flag of the table, or what does not look like a flag and may be the value of one.
fn word(table: &Table) -> String {
    let names: Vec<_> = table.names().map(|name| name.trim_start_matches('-')).collect();
    format!("^(--({})(=|$)|-?[^-]|-?$)", names.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_of_the_tables_is_in_the_pattern_and_no_other() {
        for table in [&EMBEDDED, &OLLAMA] {
            for name in table.names() {
                assert!(word(table).contains(name.trim_start_matches('-')), "{name}");
            }
        }
        assert!(word(&OLLAMA).contains("header-file"));
        assert!(!word(&OLLAMA).contains("store"), "it does not apply there");
        assert!(!word(&EMBEDDED).contains("host"), "it does not apply there");
    }

    #[test]
    fn the_schema_is_open_where_the_file_is() {
        let text = schema();
        assert!(text.ends_with("}\n"));
        assert!(!text.contains("additionalProperties"));
        let entry = &document()["items"];
        assert_eq!(entry["required"], json!(["name", "framework"]));
        assert_eq!(entry["allOf"].as_array().map(Vec::len), Some(2));
    }
}
