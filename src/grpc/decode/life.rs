//! Requests of the life cycle.

use std::time::Duration;

use prost_types::Duration as ProtoDuration;

use super::{Violations, import::object};
use crate::{
    grpc::proto::v1,
    manager::request,
    model::{Failure, KeepAlive, Level, LoadOptions},
};

/// Longer is for ever in any engine; Ollama takes larger numbers for none.
const MAX_KEEP_ALIVE: Duration = Duration::from_hours(24 * 3650);

pub(in crate::grpc) fn load(request: v1::LoadRequest) -> Result<request::Load, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = wrong.name("model", &request.model);
    let level = wrong.level(request.level).unwrap_or(Level::Loaded);
    if level == Level::OnDisk {
        wrong.add("level", "must be above on-disk: a load brings a model into memory");
    }
    let keep_alive = wrong.keep_alive(request.keep_alive.as_ref());
    let options = wrong.load_options(request.load_options);
    let on_disconnect = wrong.on_disconnect(request.on_disconnect);
    let model = wrong.end_with(model)?;
    Ok(request::Load {
        backend,
        model,
        level,
        options,
        keep_alive,
        pin: request.pin,
        on_disconnect,
    })
}

pub(in crate::grpc) fn unload(request: v1::UnloadRequest) -> Result<request::Unload, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = wrong.name("model", &request.model);
    let model = wrong.end_with(model)?;
    Ok(request::Unload { backend, model })
}

pub(in crate::grpc) fn delete(request: v1::DeleteRequest) -> Result<request::Delete, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = wrong.name("model", &request.model);
    let model = wrong.end_with(model)?;
    Ok(request::Delete {
        backend,
        model,
        unload: request.unload,
        allow_missing: request.allow_missing,
        force: request.force,
    })
}

pub(in crate::grpc) fn copy(request: v1::CopyRequest) -> Result<request::Copy, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let source = wrong.name("source", &request.source);
    let destination = wrong.name("destination", &request.destination);
    if source.is_some() && source == destination {
        wrong.add("destination", "is the source: give another name");
    }
    let (source, destination) = wrong.end_with(source.zip(destination))?;
    Ok(request::Copy {
        backend,
        source,
        destination,
        replace: request.replace,
    })
}

pub(in crate::grpc) fn push(request: v1::PushRequest) -> Result<request::Push, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = wrong.name("model", &request.model);
    let on_disconnect = wrong.on_disconnect(request.on_disconnect);
    let model = wrong.end_with(model)?;
    Ok(request::Push {
        backend,
        model,
        insecure: request.insecure,
        on_disconnect,
    })
}

pub(in crate::grpc) fn show(request: v1::ShowRequest) -> Result<request::Show, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = wrong.name("model", &request.model);
    let model = wrong.end_with(model)?;
    Ok(request::Show {
        backend,
        model,
        verbose: request.verbose,
    })
}

pub(in crate::grpc) fn list_running(request: v1::ListRunningRequest) -> Result<String, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    wrong.end().map(|()| backend)
}

// === impl Violations ===

impl Violations {
    pub(super) fn keep_alive(&mut self, duration: Option<&ProtoDuration>) -> KeepAlive {
        let Some(duration) = duration else {
            return KeepAlive::Default;
        };
        match (u64::try_from(duration.seconds), u32::try_from(duration.nanos)) {
            (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => {
                KeepAlive::For(Duration::new(seconds, nanos).min(MAX_KEEP_ALIVE))
            }
            _ => {
                self.add("keep_alive", "must not be negative: `pin` keeps a model for ever");
                KeepAlive::Default
            }
        }
    }

    pub(super) fn load_options(&mut self, options: Option<v1::LoadOptions>) -> LoadOptions {
        let Some(options) = options else {
            return LoadOptions::default();
        };
        let context_length = options.context_length.and_then(|length| {
            let length = u32::try_from(length).ok().filter(|&length| length > 0);
            if length.is_none() {
                self.add("load_options.context_length", "must be at least 1 token");
            }
            length
        });
        let field = "load_options.engine_options";
        let engine_options = options.engine_options.map(|options| object(self, field, options));
        LoadOptions {
            context_length,
            engine_options: engine_options.unwrap_or_default(),
        }
    }
}
