//! What an operation is to do, resolved: the entry, the engine, and what the configuration adds to the request.

use std::{path::PathBuf, sync::Arc};

use super::{
    Label, Manager, OperationKind,
    intent::{Intent, Source},
    plan::{Origin, Wanted},
    request,
    target::{Aim, Target},
    work::{Content, ModelWork},
};
use crate::{
    config,
    engines::{Engine, EngineId, Entry},
    model::{Capability, Digest, Failure, ImportOptions, KeepAlive, Level, LoadOptions, ModelName, Reason, Snapshot},
    operation::{OnDisconnect, Order},
};

/// Resolved work on one model.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) kind: OperationKind,
    pub(super) entry: Arc<Entry>,
    pub(super) engine: Engine,
    pub(super) name: ModelName,
    pub(super) from: From,
    pub(super) digest: Option<Digest>,
    pub(super) target: Arc<Target>,
}

/// Where the model comes from when it is not there.
#[derive(Debug, Clone)]
pub(super) enum From {
    Registry {
        insecure: bool,
    },
    Path {
        path: Path,
        options: Box<ImportOptions>,
        replace: bool,
    },
    /// It must be there.
    Present,
}

/// A path and whose word it is: a caller's stays beneath the roots, the operator's needs none.
#[derive(Debug, Clone)]
pub(super) enum Path {
    Caller(String),
    Operator(PathBuf),
}

// === impl Task ===

impl Task {
    /// EnsureReady: what the request leaves unset comes from the configured entry.
    pub(super) fn ensure(manager: &Manager, request: request::Ensure) -> Result<Self, Failure> {
        let (entry, engine) = manager.entry(&request.backend)?;
        let name = match (request.model, entry.desired.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only.spec.name.clone(),
            (None, configured) => return Err(super::error::which_model(&entry.name, configured.len())),
        };
        let configured = entry.desired.iter().find(|desired| desired.spec.name == name);
        // Asked for, it counts in health: told at once, not with the next probe.
        if let Some(desired) = configured
            && !request.dry_run
            && desired.ask()
        {
            manager.shared.changed.notify_waiters();
        }
        let spec = configured.map(|desired| &desired.spec);
        let level = request.level.or(spec.map(|spec| spec.level)).unwrap_or(Level::OnDisk);
        // What is kept in memory is in memory.
        let level = if request.pin { level.max(Level::Loaded) } else { level };
        let aim = Aim {
            level,
            options: LoadOptions {
                context_length: request
                    .load_options
                    .context_length
                    .or(spec.and_then(|spec| spec.context_length)),
                ..request.load_options
            },
            keep_alive: match (request.keep_alive, spec.and_then(|spec| spec.keep_alive)) {
                (KeepAlive::Default, Some(configured)) => KeepAlive::For(configured),
                (asked, _) => asked,
            },
            pin: request.pin || (level > Level::OnDisk && manager.setup().keeps(&engine, &name)),
        };
        let wants_memory = aim.level > Level::OnDisk;
        let path = if request.path.is_empty() {
            spec.and_then(|spec| spec.path.clone()).map(Path::Operator)
        } else {
            Some(Path::Caller(request.path))
        };
        let from = match path {
            Some(path) => {
                let options = request
                    .options
                    .or(spec.map(|spec| spec.options.clone()))
                    .unwrap_or_default();
                From::Path {
                    path,
                    options: Box::new(options),
                    replace: false,
                }
            }
            None if request.options.is_some() => {
                let message = "import_options say how a model is made from files, and there is no path to make it from";
                return Err(Failure::new(Reason::RequestInvalid, message)
                    .violation("import_options", "needs `path`, or a configured one"));
            }
            None => From::Registry {
                insecure: request.insecure || spec.is_some_and(|spec| spec.insecure),
            },
        };
        let digest = request.digest.or(spec.and_then(|spec| spec.digest.clone()));
        let task = Self {
            kind: OperationKind::EnsureReady,
            entry,
            engine,
            name,
            from,
            digest,
            target: Arc::new(Target::new(aim)),
        };
        if wants_memory {
            task.require(Capability::Load)?;
        }
        if matches!(task.from, From::Path { .. }) {
            task.refuse_reserved()?;
        }
        Ok(task)
    }

    /// Pull: what was asked for and nothing else.
    pub(super) fn pull(manager: &Manager, request: request::Pull) -> Result<Self, Failure> {
        let (entry, engine) = manager.entry(&request.backend)?;
        let task = Self {
            kind: OperationKind::Pull,
            entry,
            engine,
            name: request.model,
            from: From::Registry {
                insecure: request.insecure,
            },
            digest: request.digest,
            target: Arc::new(Target::new(Aim::default())),
        };
        task.require(Capability::Pull)?;
        Ok(task)
    }

    /// Load: what is on disk.
    pub(super) fn load(manager: &Manager, request: request::Load) -> Result<Self, Failure> {
        let (entry, engine) = manager.entry(&request.backend)?;
        let aim = Aim {
            level: request.level,
            options: request.options,
            keep_alive: request.keep_alive,
            // Whatever one caller says: the configuration keeps it.
            pin: request.pin || manager.setup().keeps(&engine, &request.model),
        };
        let task = Self {
            kind: OperationKind::Load,
            entry,
            engine,
            name: request.model,
            from: From::Present,
            digest: None,
            target: Arc::new(Target::new(aim)),
        };
        task.require(Capability::Load)?;
        Ok(task)
    }

    /// CreateFromPath: likewise.
    pub(super) fn create(manager: &Manager, request: request::Create) -> Result<Self, Failure> {
        let (entry, engine) = manager.entry(&request.backend)?;
        let task = Self {
            kind: OperationKind::CreateFromPath,
            entry,
            engine,
            name: request.model,
            from: From::Path {
                path: Path::Caller(request.path),
                options: Box::new(request.options),
                replace: request.replace,
            },
            digest: None,
            target: Arc::new(Target::new(Aim::default())),
        };
        task.require(Capability::Create)?;
        task.refuse_reserved()?;
        Ok(task)
    }

    /// Fails when the name must not be given to a new model.
    pub(super) fn refuse_reserved(&self) -> Result<(), Failure> {
        let Some(why) = self.name.reserved() else { return Ok(()) };
        let failure = Failure::new(
            Reason::ModelNameInvalid,
            format!("`{}` cannot be created: {why}", self.name),
        );
        Err(failure.with("model", &self.name).violation("model", why))
    }

    /// Fails unless the engine can do this now.
    pub(super) fn require(&self, capability: Capability) -> Result<(), Failure> {
        super::error::require(&self.entry.name, &self.engine, capability)
    }

    /// What the plan is made against.
    pub(super) fn wanted(&self) -> Wanted {
        let origin = match &self.from {
            From::Registry { .. } => Origin::Registry(self.name.host().to_owned()),
            From::Path { path, .. } => Origin::Path(path.file_name()),
            From::Present => Origin::Present,
        };
        Wanted {
            origin,
            digest: self.digest.clone(),
            level: self.target.aim().level,
        }
    }

    /// What one operation at a time works on.
    pub(super) fn key(&self) -> (EngineId, ModelName) {
        (self.engine.id.clone(), self.name.clone())
    }

    /// What another caller must want too, to share the operation.
    fn content(&self) -> Content {
        match &self.from {
            From::Registry { insecure } => Content::Registry {
                digest: self.digest.clone(),
                insecure: *insecure,
                target: Arc::clone(&self.target),
            },
            From::Path { path, options, replace } => Content::Path {
                path: match path {
                    Path::Caller(path) => path.clone(),
                    Path::Operator(path) => path.display().to_string(),
                },
                digest: self.digest.clone(),
                options: options.clone(),
                replace: *replace,
                target: Arc::clone(&self.target),
            },
            From::Present => Content::Load {
                target: Arc::clone(&self.target),
            },
        }
    }

    /// What its operation is begun with.
    pub(super) fn order(&self, on_disconnect: OnDisconnect, first: Snapshot) -> Order<ModelWork> {
        Order {
            key: self.key(),
            held: Vec::new(),
            label: self.label(),
            content: self.content(),
            intent: self.intent(),
            on_disconnect,
            first,
        }
    }

    /// What is needed to do it again. It follows the target.
    fn intent(&self) -> Intent {
        let source = match &self.from {
            From::Registry { insecure } => Source::Registry { insecure: *insecure },
            From::Path { path, options, replace } => match path {
                Path::Caller(path) => Source::Path {
                    path: path.clone(),
                    options: options.clone(),
                    replace: *replace,
                },
                Path::Operator(_) => Source::Configured {
                    options: options.clone(),
                },
            },
            From::Present => Source::Present,
        };
        Intent::Bring {
            source,
            digest: self.digest.clone(),
            target: Arc::clone(&self.target),
        }
    }

    /// What describes it to people.
    fn label(&self) -> Label {
        Label {
            kind: self.kind,
            backend: self.entry.name.clone(),
            name: self.name.clone(),
        }
    }
}

// === impl From ===

impl From {
    /// As it was asked before a restart; none when the path is not configured any more.
    pub(super) fn again(source: Source, configured: Option<&config::Desired>) -> Option<Self> {
        Some(match source {
            Source::Registry { insecure } => Self::Registry { insecure },
            Source::Path { path, options, replace } => Self::Path {
                path: Path::Caller(path),
                options,
                replace,
            },
            Source::Configured { options } => Self::Path {
                path: Path::Operator(configured?.path.clone()?),
                options,
                replace: false,
            },
            Source::Present => Self::Present,
        })
    }
}

// === impl Path ===

impl Path {
    /// Without its folder: the operator's folders are nobody's business.
    pub(super) fn file_name(&self) -> String {
        let path = match self {
            Self::Caller(path) => std::path::Path::new(path),
            Self::Operator(path) => path,
        };
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}
