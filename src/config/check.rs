//! What is worth a warning, without starting. Errors are only what `serve` would refuse; these it lives with.

use super::{Config, Framework};

/// Similarity of two names from which one may be meant for the other.
const ALIKE: f64 = 0.85;

/// Warnings, one a line, in the order of the configuration. Looks at the file system, changes nothing.
pub fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.server.allow_unauthenticated {
        let listen = config.server.listen;
        warnings.push(format!(
            "--allow-unauthenticated: whoever reaches {listen} may call the service"
        ));
    }
    let access = &config.server.access;
    if access.token_file.is_some() && access.tls.is_none() && !super::load::is_loopback(config.server.listen) {
        warnings.push(
            "--token-file without --tls-cert-file: tokens come in plain text, and whoever listens on the way has them"
                .to_owned(),
        );
    }
    for entry in &config.entries {
        let mut warn = |message: String| warnings.push(format!("entry `{}`: {message}", entry.name));
        if let Framework::Unsupported(framework) = &entry.framework {
            let alike = |known: &&str| strsim::jaro_winkler(&framework.to_ascii_lowercase(), known) >= ALIKE;
            let meant = ["embedded", "ollama"].into_iter().find(alike);
            let hint = meant
                .map(|known| format!(": did you mean `{known}`?"))
                .unwrap_or_default();
            warn(format!(
                "framework `{framework}` is not supported and is only listed{hint}"
            ));
        }
        for model in &entry.desired {
            let adapters = model.options.adapter_paths.iter().map(std::path::Path::new);
            for path in model.path.as_deref().into_iter().chain(adapters) {
                if !path.exists() {
                    warn(format!("model `{}`: nothing lies at {}", model.name, path.display()));
                }
            }
        }
    }
    let supported = |entry: &super::Entry| !matches!(entry.framework, Framework::Unsupported(_));
    if !config.entries.iter().any(supported) {
        warnings.push("no entry is of a framework that this version supports: nothing will become ready".to_owned());
    }
    warnings
}
