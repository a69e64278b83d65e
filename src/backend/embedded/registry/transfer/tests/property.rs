//! Whatever a registry does, in whatever order: the right blob, or an error.

use proptest::prelude::*;
use tokio::runtime::Builder;

use super::{super::super::remote::Retry, *};

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => Just(Act::Serve),
        1 => Just(Act::Refuse(Retry::Soon)),
        1 => Just(Act::Refuse(Retry::After(Duration::from_millis(2)))),
        3 => (0..4000_u64).prop_map(Act::Early),
        3 => (0..4000_u64).prop_map(Act::Reset),
        1 => (0..4000_u64).prop_map(Act::Stall),
        1 => Just(Act::Whole),
        1 => (0..30_000_u64).prop_map(Act::WholeEarly),
        1 => Just(Act::Wrong),
        1 => Just(Act::Endless),
        1 => Just(Act::Total(3)),
        1 => Just(Act::Start(1)),
        1 => Just(Act::Validator("\"w\"")),
        1 => Just(Act::Changed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn the_right_blob_or_an_error(
        size in 0..30_000_usize,
        script in prop::collection::vec(act(), 0..24),
        killed in prop::collection::vec(0..30_000_u64, 0..3),
    ) {
        let scene = Scene::with(Limits { stall: Duration::from_millis(5), ..limits() });
        let remote = Double::new(size, script, Act::Serve);
        for at in killed {
            let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            runtime.block_on(within(async {
                let mut download = scene.fetch(&remote);
                while download.state().completed < at && download.state().ended.is_none() {
                    download.changed().await;
                }
                std::mem::forget(download);
            }));
            drop(runtime);
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // `run` checks the store.
        let first = runtime.block_on(scene.run(&remote));
        if let Err(error) = first {
            prop_assert!(!matches!(error.kind, Kind::Internal), "{error:?}");
            // The script ends some time.
            let again = (0..24).any(|_| runtime.block_on(scene.run(&remote)).is_ok());
            prop_assert!(again);
        }
    }
}
