//! The configuration as text, for people and for a difference of two. Nothing in it is secret: a proxy's
//! password is left out, other values that could be are refused where they are read.

use std::fmt::{self, Display, Write as _};

use super::{
    Access, Config, Desired, Ensure, Entry, Framework, Registries, Runner, Server,
    value::{Human, Size},
};

/// The effective configuration as YAML, each server setting with where it came from.
pub fn print(config: &Config) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = write(&mut text, config);
    text
}

/// A text in quotes that YAML understands.
struct Quoted<T>(T);

fn write(out: &mut String, config: &Config) -> fmt::Result {
    match &config.file {
        Some(file) => writeln!(out, "# {}", file.display())?,
        None => writeln!(out, "# no file")?,
    }
    writeln!(out, "digest: {}", config.digest)?;
    writeln!(out, "server:")?;
    write_server(out, config)?;
    write_access(out, config)?;
    write_registries(out, config)?;
    write_runner(out, config)?;
    writeln!(out, "entries:")?;
    config.entries.iter().try_for_each(|entry| write_entry(out, entry))
}

fn write_server(out: &mut String, config: &Config) -> fmt::Result {
    let Server {
        listen,
        health_listen,
        metrics_listen,
        otlp_endpoint,
        state_dir,
        model_roots,
        allow_unauthenticated,
        access: _,
        max_connections,
        max_streams,
        max_message_bytes,
        max_handshakes,
        handshake_timeout,
        max_operations,
        keep_operations,
        keep_operations_for,
        probe_interval,
        drain_delay,
        drain_timeout,
    } = &config.server;
    let roots: Vec<_> = model_roots
        .iter()
        .map(|root| Quoted(root.display()).to_string())
        .collect();
    let address =
        |address: &Option<std::net::SocketAddr>| address.map_or("null".to_owned(), |told| Quoted(told).to_string());
    let otlp_endpoint = otlp_endpoint
        .as_ref()
        .map_or("null".to_owned(), |url| Quoted(url).to_string());
    let settings: [(&str, &dyn Display); 18] = [
        ("listen", &Quoted(listen)),
        ("health_listen", &address(health_listen)),
        ("metrics_listen", &address(metrics_listen)),
        ("otlp_endpoint", &otlp_endpoint),
        ("state_dir", &Quoted(state_dir.display())),
        ("model_roots", &format!("[{}]", roots.join(", "))),
        ("allow_unauthenticated", allow_unauthenticated),
        ("max_connections", max_connections),
        ("max_streams", max_streams),
        ("max_message_size", &Size(*max_message_bytes)),
        ("max_handshakes", max_handshakes),
        ("handshake_timeout", &Human(*handshake_timeout)),
        ("max_operations", max_operations),
        ("keep_operations", keep_operations),
        ("keep_operations_for", &Human(*keep_operations_for)),
        ("probe_interval", &Human(*probe_interval)),
        ("drain_delay", &Human(*drain_delay)),
        ("drain_timeout", &Human(*drain_timeout)),
    ];
    for (name, value) in settings {
        writeln!(out, "  {name}: {value} # {}", config.origins.of(name))?;
    }
    Ok(())
}

fn write_access(out: &mut String, config: &Config) -> fmt::Result {
    let Access {
        tls,
        client_scopes,
        token_file,
    } = &config.server.access;
    let tls = tls.as_ref();
    let file = |file: Option<&std::path::PathBuf>| or_null(file.map(|file| Quoted(file.display())));
    let scopes: Vec<_> = client_scopes.iter().map(|one| Quoted(one).to_string()).collect();
    let settings: [(&str, &dyn Display); 5] = [
        ("tls_cert_file", &file(tls.map(|tls| &tls.cert))),
        ("tls_key_file", &file(tls.map(|tls| &tls.key))),
        ("tls_client_ca_file", &file(tls.and_then(|tls| tls.client_ca.as_ref()))),
        ("tls_client_scopes", &format!("[{}]", scopes.join(", "))),
        ("token_file", &file(token_file.as_ref())),
    ];
    for (name, value) in settings {
        writeln!(out, "  {name}: {value} # {}", config.origins.of(name))?;
    }
    Ok(())
}

fn write_registries(out: &mut String, config: &Config) -> fmt::Result {
    let Registries {
        allow,
        auth_file,
        ca_file,
        proxy,
        max_concurrent_pulls,
        pull_connections,
        pull_part_bytes,
    } = &config.registries;
    let allow: Vec<_> = allow.iter().map(|host| Quoted(host).to_string()).collect();
    let file = |file: &Option<std::path::PathBuf>| match file {
        Some(file) => Quoted(file.display()).to_string(),
        None => "null".to_owned(),
    };
    let proxy = proxy.as_ref().map_or("null".to_owned(), |url| Quoted(url).to_string());
    let part_size = usize::try_from(*pull_part_bytes).unwrap_or(usize::MAX);
    let settings: [(&str, &dyn Display); 7] = [
        ("allow_registries", &format!("[{}]", allow.join(", "))),
        ("registry_auth_file", &file(auth_file)),
        ("registry_ca_file", &file(ca_file)),
        ("proxy", &proxy),
        ("max_concurrent_pulls", max_concurrent_pulls),
        ("pull_connections", pull_connections),
        ("pull_part_size", &Size(part_size)),
    ];
    for (name, value) in settings {
        writeln!(out, "  {name}: {value} # {}", config.origins.of(name))?;
    }
    Ok(())
}

fn write_runner(out: &mut String, config: &Config) -> fmt::Result {
    let Runner {
        program,
        listen,
        advertise,
        ports,
        key_file,
        max_loaded,
        memory_limit,
    } = &config.runner;
    let file = |file: &Option<std::path::PathBuf>| match file {
        Some(file) => Quoted(file.display()).to_string(),
        None => "null".to_owned(),
    };
    let size = memory_limit.map(|bytes| Size(usize::try_from(bytes).unwrap_or(usize::MAX)));
    let settings: [(&str, &dyn Display); 7] = [
        ("llama_server", &file(program)),
        ("engine_listen", &Quoted(listen)),
        ("engine_advertise", &or_null(advertise.as_ref().map(Quoted))),
        ("engine_ports", &or_null(ports.as_ref().map(Quoted))),
        ("engine_key_file", &file(key_file)),
        ("max_loaded", &or_null(*max_loaded)),
        ("memory_limit", &or_null(size)),
    ];
    for (name, value) in settings {
        writeln!(out, "  {name}: {value} # {}", config.origins.of(name))?;
    }
    Ok(())
}

fn or_null(value: Option<impl Display>) -> String {
    value.map_or("null".to_owned(), |value| value.to_string())
}

fn write_entry(out: &mut String, entry: &Entry) -> fmt::Result {
    writeln!(out, "  - name: {}", Quoted(&entry.name))?;
    match &entry.framework {
        Framework::Embedded { store, run } => {
            writeln!(out, "    framework: embedded")?;
            writeln!(out, "    store: {}", Quoted(store.display()))?;
            if let Some(threads) = run.threads {
                writeln!(out, "    threads: {threads}")?;
            }
            if let Some(layers) = run.gpu_layers {
                writeln!(out, "    gpu_layers: {layers}")?;
            }
            // Their values may be anything, a secret too.
            if !run.args.is_empty() {
                writeln!(out, "    engine_args: {}", run.args.len())?;
            }
        }
        Framework::Ollama { host, header_file } => {
            writeln!(out, "    framework: ollama")?;
            writeln!(out, "    host: {}", Quoted(host))?;
            if let Some(file) = header_file {
                writeln!(out, "    header_file: {}", Quoted(file.display()))?;
            }
        }
        Framework::Unsupported(name) => writeln!(out, "    framework: {} # not supported", Quoted(name))?,
    }
    if let Some(advertise) = &entry.advertise {
        writeln!(out, "    advertise: {}", Quoted(advertise))?;
    }
    if !entry.desired.is_empty() {
        writeln!(out, "    models:")?;
    }
    entry.desired.iter().try_for_each(|desired| write_desired(out, desired))
}

fn write_desired(out: &mut String, desired: &Desired) -> fmt::Result {
    writeln!(out, "      - name: {}", Quoted(&desired.name))?;
    let mut line = |name: &str, value: &dyn Display| writeln!(out, "        {name}: {value}");
    let ensure = match desired.ensure {
        Ensure::Startup => "startup",
        Ensure::OnDemand => "on-demand",
    };
    line("level", &desired.level)?;
    line("ensure", &ensure)?;
    if let Some(path) = &desired.path {
        line("path", &Quoted(path.display()))?;
    }
    if !desired.options.adapter_paths.is_empty() {
        let paths: Vec<_> = desired
            .options
            .adapter_paths
            .iter()
            .map(|path| Quoted(path).to_string())
            .collect();
        line("adapter_paths", &format!("[{}]", paths.join(", ")))?;
    }
    if let Some(quantize) = &desired.options.quantize {
        line("quantize", quantize)?;
    }
    if let Some(time) = desired.keep_alive {
        line("keep_alive", &Human(time))?;
    }
    if let Some(tokens) = desired.context_length {
        line("context_length", &tokens)?;
    }
    if let Some(digest) = &desired.digest {
        line("digest", digest)?;
    }
    if desired.insecure {
        line("insecure", &true)?;
    }
    Ok(())
}

// === impl Quoted ===

impl<T: Display> Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&self.0.to_string()).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}
