//! What goes wrong with a pull, as its callers see it: the real client, the real service and engine, and a registry that
//! does as it is told.
//!
//! | file | faults of |
//! |---|---|
//! | `answers` | statuses and bodies |
//! | `manifests` | what a manifest says |
//! | `reach` | where a registry sends us |
//! | `leaving` | callers that leave, cancels, the service's end |
//! | `sharing` | pulls beside each other |
//! | `progress` | what callers are told on the way |
//! | `ensure` | the way by EnsureReady |
//! | `disk` | the store |
//! | `resets` | connections that are reset, at every offset |
//! | `leaks` | what is left in the process |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "pull_faults/answers.rs"]
mod answers;
#[allow(dead_code, reason = "the tests of the API use the rest")]
#[path = "api/calls.rs"]
mod calls;
#[path = "pull_faults/disk.rs"]
mod disk;
#[allow(dead_code, reason = "the tests of the client of registries use the rest")]
#[path = "../src/backend/embedded/registry/double.rs"]
mod double;
#[path = "pull_faults/ensure.rs"]
mod ensure;
#[path = "pull_faults/hub.rs"]
mod hub;
#[path = "pull_faults/leaks.rs"]
mod leaks;
#[path = "pull_faults/leaving.rs"]
mod leaving;
#[path = "pull_faults/manifests.rs"]
mod manifests;
#[path = "support/missing.rs"]
mod missing;
#[path = "pull_faults/progress.rs"]
mod progress;
#[path = "pull_faults/reach.rs"]
mod reach;
#[path = "pull_faults/resets.rs"]
mod resets;
#[path = "pull_faults/sharing.rs"]
mod sharing;
#[path = "support/small_disk.rs"]
mod small_disk;
#[path = "support/soon.rs"]
mod soon;
#[allow(dead_code, unused_imports, reason = "the tests of the API use the rest")]
#[path = "api/support.rs"]
mod support;
#[path = "pull_faults/world.rs"]
mod world;
