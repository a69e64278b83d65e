//! The way out of each failure: what the person does next.

use super::{Fault, command, is_plain_id};

// === impl Fault ===

impl Fault {
    /// Lines of advice; none where the message says it all.
    pub(super) fn advice(&self, server: &str) -> Vec<String> {
        let run = |words: &str| format!("`{}`", command(server, words));
        let mut ways = match self.reason.as_str() {
            "" if self.tls.is_some() => self.tls.map(str::to_owned).into_iter().collect(),
            "" => self.advice_without_reason(server),
            "OPERATION_CONFLICT" => match self.metadata.get("operationId").filter(|id| is_plain_id(id)) {
                Some(id) => vec![
                    format!("follow what is running: {}", run(&format!("operations watch {id}"))),
                    format!("or cancel it: {}", run(&format!("operations cancel {id}"))),
                ],
                None => vec![format!("see what is running: {}", run("operations list"))],
            },
            "TOO_MANY_OPERATIONS" => vec![format!("see what is running: {}", run("operations list"))],
            "OPERATION_NOT_FOUND" => vec![format!("ended operations are forgotten in time: {}", run("operations list"))],
            "MODEL_NOT_FOUND" => vec![format!("see which models there are: {}", run("list"))],
            "BACKEND_NOT_FOUND" | "BACKEND_UNREACHABLE" | "FRAMEWORK_NOT_SUPPORTED" => {
                vec![format!("see the backends and how they are: {}", run("describe"))]
            }
            reason if reason.starts_with("BACKEND_CANNOT_") => {
                vec![format!("see what each backend can do: {}", run("describe"))]
            }
            "MODEL_NAME_INVALID" => vec!["a model is `[host/][namespace/]model[:tag]`, like `llama3` or `me/tiny:v1`".to_owned()],
            "MODEL_EXISTS" => vec!["use another name, or replace the model: `--replace`".to_owned()],
            "PATH_NOT_ALLOWED" => vec![
                "the server reads only below its model roots; it is started with `model-control serve --model-root=FOLDER`".to_owned(),
                "paths are those of the server's machine".to_owned(),
            ],
            "PATH_NOT_FOUND" => vec!["paths are those of the server's machine".to_owned()],
            "REGISTRY_NOT_ALLOWED" => {
                vec!["the server reaches only the registries that it was started with: `--allow-registry=HOST`".to_owned()]
            }
            "DIGEST_PIN_MISMATCH" => vec!["leave `--digest` out to take what is there, or give the digest that is wanted".to_owned()],
            "CREDENTIALS_MISSING" => vec![
                "give your token: `--token-file` or MODEL_CONTROL_CLIENT_TOKEN_FILE".to_owned(),
                "or your certificate: `--tls-cert-file` and `--tls-key-file`".to_owned(),
            ],
            "CREDENTIALS_INVALID" => vec!["ask the server's operator for a token or certificate that holds".to_owned()],
            "NOT_ALLOWED" => vec!["ask the server's operator for the right to do this".to_owned()],
            "DISK_FULL" => vec!["free room on the disk of the backend's store, then try again".to_owned()],
            "DEADLINE_EXCEEDED" => vec![
                format!("the work goes on in the server: {}", run("operations list")),
                "allow more time: `--timeout`".to_owned(),
            ],
            "METHOD_UNKNOWN" => vec![format!(
                "this is version {}; see the server's: {}",
                env!("CARGO_PKG_VERSION"),
                run("describe")
            )],
            "SHUTTING_DOWN" | "INTERRUPTED" => vec!["try again once the server is back".to_owned()],
            _ => Vec::new(),
        };
        if let Some(id) = self.follows.as_deref().filter(|id| is_plain_id(id))
            && matches!(self.reason.as_str(), "" | "DEADLINE_EXCEEDED")
        {
            ways.push(format!(
                "operation {id} may go on: {}",
                run(&format!("operations watch {id}"))
            ));
        }
        ways
    }

    /// What did not come from a server of this API: no connection, a broken one, another program's answer.
    fn advice_without_reason(&self, server: &str) -> Vec<String> {
        match self.code {
            // The reason of a refusal comes too late in TLS 1.3: the connection stood already.
            "UNAVAILABLE" if self.lost && server.starts_with("https:") => vec![
                "if the server wants a client certificate: `--tls-cert-file` and `--tls-key-file`, of an authority that it \
                 trusts"
                    .to_owned(),
                format!("is `model-control serve` running at {server}?"),
            ],
            "UNAVAILABLE" if self.lost => vec![
                format!("is `model-control serve` running at {server}?"),
                "if it wants TLS: `--server https://HOST:PORT`".to_owned(),
            ],
            "UNAVAILABLE" | "UNKNOWN" => vec![
                format!("is `model-control serve` running at {server}?"),
                "another address: `--server` or MODEL_CONTROL_CLIENT_SERVER".to_owned(),
            ],
            "UNIMPLEMENTED" | "INTERNAL" => vec![format!(
                "is it `model-control serve` of this version that runs at {server}?"
            )],
            "DEADLINE_EXCEEDED" => vec![
                format!("is `model-control serve` running at {server}, and not overloaded?"),
                "allow more time: `--timeout`".to_owned(),
            ],
            _ => Vec::new(),
        }
    }
}
