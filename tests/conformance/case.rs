//! A case: its name, what it needs of its engine and machine, and what it does.

use std::{future::Future, pin::Pin, sync::Arc};

use super::world::{Ground, Kind, Shared};

/// What only some engines or machines have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// An engine that makes models of files.
    Create,
    /// A registry on loopback, from an installed program.
    Registry,
    /// llama.cpp's tool that splits a model.
    Split,
    /// An engine that is a program of its own, which can be away.
    Outage,
    /// An engine that shows, copies and removes.
    Manage,
    /// An engine that sends models to registries.
    Push,
    /// An engine that loads, and what it needs for that.
    Load,
    /// An engine that counts what it is asked.
    Count,
    /// An ordinary client of the OpenAI API.
    OpenAi,
    /// An engine whose models are processes of the service.
    Child,
}

#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// `area::case`.
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(Ground) -> Running,
}

pub(crate) type Running = Pin<Box<dyn Future<Output = ()>>>;

/// `cases![list => none [], several [Registry]]`: functions of this module that take a ground.
macro_rules! cases {
    ($area:ident => $($name:ident [$($need:ident),*]),* $(,)?) => {
        pub(crate) const CASES: &[crate::case::Case] = &[$(crate::case::Case {
            name: concat!(stringify!($area), "::", stringify!($name)),
            needs: &[$(crate::case::Need::$need),*],
            run: |ground| Box::pin($name(ground)),
        }),*];
    };
}
pub(crate) use cases;

// === impl Case ===

impl Case {
    /// On the thread of the harness: a panic is its failure.
    pub(crate) fn run_on(self, kind: Kind, shared: Arc<Shared>) {
        let handle = shared.handle.clone();
        handle.block_on(async {
            let ground = Ground::new(kind, shared).await;
            (self.run)(ground).await;
        });
    }
}
