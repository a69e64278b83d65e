//! Makes each engine once, and takes over what is there already.

use std::{collections::HashMap, path::Path, sync::Arc, time::SystemTime};

use super::{BuildError, Engine, EngineId, Entry, Setup};
use crate::{
    backend::{
        Backend,
        embedded::{Embedded, Pulling, Registry, RegistrySettings, RunnerSettings, TransferLimits},
        observed::Observed,
        ollama::{self, Memory as Remembered, Ollama},
        registries::{AllowList, AllowedHost},
    },
    config::{self, Config, Framework, RegistryHost, Run},
};

/// Sets up the engines of a configuration. Blocks.
pub fn build(config: &Config) -> Result<Setup, BuildError> {
    build_over(config, &[])
}

/// As [`build`]; engines, and entries that say the same as before, are taken over from `before`.
pub fn rebuild(config: &Config, before: &Setup) -> Result<Setup, BuildError> {
    build_over(config, &before.entries)
}

fn build_over(config: &Config, before: &[Arc<Entry>]) -> Result<Setup, BuildError> {
    let mut builder = Builder::new(config)?;
    let engines = before.iter().filter_map(|entry| entry.engine.as_ref());
    builder
        .made
        .extend(engines.map(|engine| (engine.id.clone(), engine.clone())));
    let entries = config.entries.iter().map(|entry| {
        let engine = builder.engine(entry)?;
        let old = before.iter().find(|old| old.name == entry.name);
        Ok(match old {
            Some(old) if old.is(entry, engine.as_ref()) => Arc::clone(old),
            _ => Arc::new(Entry::new(entry, engine, old.map(|old| &**old))),
        })
    });
    Ok(Setup {
        entries: entries.collect::<Result<_, BuildError>>()?,
        digest: config.digest.clone(),
        load_time: SystemTime::now(),
    })
}

/// Makes each engine once.
struct Builder {
    allow: Vec<AllowedHost>,
    pulling: Pulling,
    memory: Remembered,
    runner: RunnerSettings,
    made: HashMap<EngineId, Engine>,
}

// === impl Builder ===

impl Builder {
    fn new(config: &Config) -> Result<Self, BuildError> {
        let memory = Remembered::open(&config.server.state_dir);
        let runner = RunnerSettings {
            program: config.runner.program.clone(),
            listen: config.runner.listen,
            advertise: config.runner.advertise.clone(),
            ports: config.runner.ports.as_ref().map(|ports| ports.0.clone()),
            key_file: config.runner.key_file.clone(),
            max_loaded: config.runner.max_loaded,
            memory_limit: config.runner.memory_limit,
            ..RunnerSettings::default()
        };
        let config = &config.registries;
        let allowed = |host: &RegistryHost| {
            let host = host.to_string();
            host.parse().map_err(|source| BuildError::Registry { host, source })
        };
        let allow: Vec<AllowedHost> = config.allow.iter().map(allowed).collect::<Result<_, _>>()?;
        let settings = RegistrySettings {
            allow: allow.clone(),
            auth_file: config.auth_file.clone(),
            ca_file: config.ca_file.clone(),
            proxy: config.proxy.as_ref().map(|proxy| proxy.reveal().to_owned()),
            ..RegistrySettings::default()
        };
        let pulling = Pulling {
            registry: Registry::new(settings)?,
            at_a_time: config.max_concurrent_pulls,
            limits: TransferLimits {
                connections_per_blob: config.pull_connections,
                part: config.pull_part_bytes,
                ..TransferLimits::default()
            },
        };
        Ok(Self {
            allow,
            pulling,
            memory,
            runner,
            made: HashMap::new(),
        })
    }

    /// The entry's engine; none when this build does not know the framework.
    fn engine(&mut self, entry: &config::Entry) -> Result<Option<Engine>, BuildError> {
        match &entry.framework {
            Framework::Embedded { store, run } => {
                let id = format!("embedded {}", store.display());
                self.once(entry, &id, &format!("{run:?}"), |builder| {
                    builder.embedded(&entry.name, store, run)
                })
                .map(Some)
            }
            Framework::Ollama { host, header_file } => {
                let id = format!("ollama {}", host.id());
                let settings = ollama::Settings {
                    url: host.to_string(),
                    header_file: header_file.clone(),
                };
                let reach = format!("{} {:?}", host.https, settings.header_file);
                self.once(entry, &id, &reach, |builder| builder.ollama(&entry.name, &settings))
                    .map(Some)
            }
            Framework::Unsupported(framework) => {
                tracing::warn!(
                    backend.name = entry.name,
                    backend.framework = framework,
                    "this version does not support the framework: the entry is listed and otherwise left alone"
                );
                Ok(None)
            }
        }
    }

    fn once(
        &mut self,
        entry: &config::Entry,
        id: &str,
        reach: &str,
        make: impl FnOnce(&Self) -> Result<Arc<dyn Backend>, BuildError>,
    ) -> Result<Engine, BuildError> {
        if let Some(engine) = self.made.get(&EngineId(id.into())) {
            if *engine.reach != *reach {
                let backend = entry.name.clone();
                return Err(BuildError::Reach { backend });
            }
            return Ok(engine.clone());
        }
        let engine = Engine {
            reach: reach.into(),
            ..Engine::new(id, Arc::new(Observed::new(make(self)?, &entry.name)))
        };
        self.made.insert(engine.id.clone(), engine.clone());
        Ok(engine)
    }

    fn embedded(&self, name: &str, store: &Path, run: &Run) -> Result<Arc<dyn Backend>, BuildError> {
        let runner = RunnerSettings {
            threads: run.threads,
            gpu_layers: run.gpu_layers,
            extra_args: run.args.clone(),
            ..self.runner.clone()
        };
        let made =
            Embedded::pulling(store.to_owned(), self.pulling.clone()).and_then(|engine| engine.with_runner(runner));
        Ok(Arc::new(made.map_err(|source| BuildError::Store {
            backend: name.to_owned(),
            source,
        })?))
    }

    fn ollama(&self, name: &str, settings: &ollama::Settings) -> Result<Arc<dyn Backend>, BuildError> {
        let made = Ollama::new(settings, AllowList(self.allow.clone()), self.memory.clone());
        Ok(Arc::new(made.map_err(|source| BuildError::Ollama {
            backend: name.to_owned(),
            source,
        })?))
    }
}
