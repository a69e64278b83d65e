//! From requests to domain values, telling everything that is wrong at once.

use std::fmt::Display;

use uuid::Uuid;

use super::proto::v1;
use crate::{
    manager::request,
    model::{Digest, Failure, Level, ModelName, Reason},
    operation::OnDisconnect,
};

mod import;
mod life;

pub(super) use self::life::{copy, delete, list_running, load, push, show, unload};

/// Longest backend name that the configuration allows.
const MAX_BACKEND: usize = 63;
/// Longest path that Linux opens.
const MAX_PATH: usize = 4096;

/// What is wrong with a request so far.
#[derive(Debug, Default)]
struct Violations {
    failure: Option<Failure>,
    /// Only the model's name is wrong: that has a reason of its own.
    only_name: bool,
}

pub(super) fn ensure(request: v1::EnsureReadyRequest) -> Result<request::Ensure, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = if request.model.is_empty() {
        None
    } else {
        wrong.name("model", &request.model)
    };
    let path = wrong.path("path", request.path);
    let options = request
        .import_options
        .map(|options| import::options(&mut wrong, options));
    let level = wrong.level(request.level);
    let digest = wrong.digest(&request.digest);
    let keep_alive = wrong.keep_alive(request.keep_alive.as_ref());
    let load_options = wrong.load_options(request.load_options);
    let on_disconnect = wrong.on_disconnect(request.on_disconnect);
    wrong.end()?;
    Ok(request::Ensure {
        backend,
        model,
        path,
        options,
        level,
        digest,
        load_options,
        keep_alive,
        pin: request.pin,
        insecure: request.insecure,
        dry_run: request.dry_run,
        on_disconnect,
    })
}

pub(super) fn pull(request: v1::PullRequest) -> Result<request::Pull, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = wrong.name("model", &request.model);
    let digest = wrong.digest(&request.digest);
    let on_disconnect = wrong.on_disconnect(request.on_disconnect);
    let model = wrong.end_with(model)?;
    Ok(request::Pull {
        backend,
        model,
        digest,
        insecure: request.insecure,
        on_disconnect,
    })
}

pub(super) fn create(request: v1::CreateFromPathRequest) -> Result<request::Create, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = wrong.name("model", &request.model);
    if request.path.is_empty() {
        wrong.add("path", "is required");
    }
    let path = wrong.path("path", request.path);
    let options = import::options(&mut wrong, request.import_options.unwrap_or_default());
    let on_disconnect = wrong.on_disconnect(request.on_disconnect);
    let model = wrong.end_with(model)?;
    Ok(request::Create {
        backend,
        model,
        path,
        options,
        replace: request.replace,
        on_disconnect,
    })
}

pub(super) fn list(request: v1::ListRequest) -> Result<request::List, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let page_size = wrong.page_size(request.page_size);
    wrong.end()?;
    Ok(request::List {
        backend,
        page_size,
        page_token: request.page_token,
        order_by: request.order_by,
    })
}

pub(super) fn describe(request: v1::DescribeRequest) -> Result<String, Failure> {
    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    wrong.end().map(|()| backend)
}

/// What `Operations.List` asks, decoded.
#[derive(Debug)]
pub(super) struct ListOperations {
    pub(super) backend: String,
    pub(super) model: Option<ModelName>,
    pub(super) state: v1::operation::State,
    pub(super) page_size: usize,
    pub(super) before: Option<Uuid>,
}

pub(super) fn list_operations(request: v1::OperationsListRequest) -> Result<ListOperations, Failure> {
    const DEFAULT_PAGE: usize = 100;
    const MAX_PAGE: usize = 1000;

    let mut wrong = Violations::default();
    let backend = wrong.backend(request.backend);
    let model = if request.model.is_empty() {
        None
    } else {
        wrong.name("model", &request.model)
    };
    let page_size = match wrong.page_size(request.page_size) as usize {
        0 => DEFAULT_PAGE,
        size => size.min(MAX_PAGE),
    };
    let state = v1::operation::State::try_from(request.state).unwrap_or_else(|_| {
        wrong.add("state", "is not a state of this version");
        v1::operation::State::Unspecified
    });
    let before = if request.page_token.is_empty() {
        None
    } else {
        let token = Uuid::try_parse(&request.page_token);
        token
            .map_err(|_| wrong.add("page_token", "is not a token of this service"))
            .ok()
    };
    wrong.end()?;
    Ok(ListOperations {
        backend,
        model,
        state,
        page_size,
        before,
    })
}

pub(super) fn operation_id(text: &str) -> Result<Uuid, Failure> {
    let mut wrong = Violations::default();
    let id = if text.is_empty() {
        wrong.add("operation_id", "is required");
        None
    } else {
        Uuid::try_parse(text)
            .map_err(|_| wrong.add("operation_id", "is not an operation's id"))
            .ok()
    };
    wrong.end_with(id)
}

// === impl Violations ===

impl Violations {
    fn add(&mut self, field: impl Display, description: impl Display) {
        self.only_name = false;
        self.push(field, description);
    }

    /// A request may have a million faults: texts are made of those only that are kept.
    fn push(&mut self, field: impl Display, description: impl Display) {
        let failure = match self.failure.take() {
            None => {
                let mut failure = Failure::new(Reason::RequestInvalid, "").violation(field, description);
                if let Some(first) = failure.violations.first() {
                    failure.message = format!("`{}` {}", first.field, first.description);
                }
                failure
            }
            Some(mut failure) => {
                if failure.violations.len() == 1 {
                    "the request has several faults".clone_into(&mut failure.message);
                }
                failure.violation(field, description)
            }
        };
        self.failure = Some(failure);
    }

    fn backend(&mut self, name: String) -> String {
        if name.len() > MAX_BACKEND {
            self.add("backend", format_args!("is longer than {MAX_BACKEND} bytes"));
        }
        name
    }

    fn name(&mut self, field: &str, text: &str) -> Option<ModelName> {
        match text.parse() {
            Ok(name) => Some(name),
            Err(error) => {
                let first = self.failure.is_none();
                self.push(field, format_args!("is no model name: {error}"));
                self.only_name = first;
                None
            }
        }
    }

    fn path(&mut self, field: impl Display, path: String) -> String {
        if path.len() > MAX_PATH {
            self.add(field, format_args!("is longer than {MAX_PATH} bytes"));
        } else if path.contains('\0') {
            self.add(field, "has a NUL byte");
        } else if !path.is_empty() && !path.starts_with('/') {
            self.add(field, "must be absolute: it is a path on the service's file system");
        }
        path
    }

    fn digest(&mut self, text: &str) -> Option<Digest> {
        if text.is_empty() {
            return None;
        }
        text.parse().map_err(|error| self.add("digest", error)).ok()
    }

    fn level(&mut self, level: i32) -> Option<Level> {
        match v1::Level::try_from(level) {
            Ok(v1::Level::Unspecified) => None,
            Ok(v1::Level::OnDisk) => Some(Level::OnDisk),
            Ok(v1::Level::Loaded) => Some(Level::Loaded),
            Ok(v1::Level::Warm) => Some(Level::Warm),
            Err(_) => {
                self.add("level", "is not a level of this version");
                None
            }
        }
    }

    fn on_disconnect(&mut self, mode: i32) -> OnDisconnect {
        match v1::OnDisconnect::try_from(mode) {
            Ok(v1::OnDisconnect::Unspecified | v1::OnDisconnect::Keep) => OnDisconnect::Keep,
            Ok(v1::OnDisconnect::Cancel) => OnDisconnect::Cancel,
            Err(_) => {
                self.add("on_disconnect", "is not a mode of this version");
                OnDisconnect::Keep
            }
        }
    }

    fn page_size(&mut self, size: i32) -> u32 {
        u32::try_from(size).unwrap_or_else(|_| {
            self.add("page_size", "must not be negative");
            0
        })
    }

    fn end(&mut self) -> Result<(), Failure> {
        match self.failure.take() {
            None => Ok(()),
            Some(mut failure) => {
                if self.only_name {
                    failure.reason = Reason::ModelNameInvalid;
                }
                Err(failure)
            }
        }
    }

    /// As [`end`](Self::end), with the value that is there when nothing is wrong.
    fn end_with<T>(mut self, value: Option<T>) -> Result<T, Failure> {
        if value.is_none() && self.failure.is_none() {
            self.add("", "is required");
        }
        self.end()?;
        value.ok_or_else(|| Failure::new(Reason::RequestInvalid, "a required field is missing"))
    }
}

#[cfg(test)]
mod tests;
