//! The process that runs a model, the engine, and the service are killed in each phase of a model's life: every caller is
//! answered, nothing is lost, no process is left, and the next one who asks gets the model.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{sync::watch, task::JoinHandle, time::interval};

use super::{
    calls,
    case::cases,
    life::{load, model, running},
    processes::kill,
    support::{Code, LONG, Status, soon, v1},
    world::{Ground, Kind, World, tiny},
};

cases![killed =>
    a_runner [Load],
    the_engine [Load, Outage],
    the_service [Load],
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Loading,
    Warming,
    Ready,
    Unloading,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Runner,
    Engine,
    Service,
}

const MOMENTS: [Moment; 4] = [Moment::Loading, Moment::Warming, Moment::Ready, Moment::Unloading];

fn signal(pid: u32, signal: Signal) {
    // It may have ended meanwhile.
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), signal).ok();
}

/// Waits until `is_so` is true; the patience of the suite bounds it.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let looking = async {
        let mut looks = interval(Duration::from_millis(2));
        while !is_so() {
            looks.tick().await;
        }
    };
    let seen = tokio::time::timeout(LONG, looking).await;
    seen.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Waits for a process that runs a model, and stops it where it is.
pub(crate) async fn await_stopped(ground: &Ground) {
    until("a process runs the model", || !ground.runners().is_empty()).await;
    for pid in ground.runners() {
        signal(pid, Signal::STOP);
        let stopped = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") T "));
        until("it is stopped", stopped).await;
    }
}

pub(crate) async fn unload(world: &World, name: &str) -> Result<v1::UnloadResult, Status> {
    let request = v1::UnloadRequest {
        model: name.to_owned(),
        ..Default::default()
    };
    let told = soon(world.client.clone().unload(request)).await?;
    Ok(told.into_inner().result.unwrap())
}

fn to(level: v1::Level) -> v1::LoadRequest {
    v1::LoadRequest {
        level: level.into(),
        ..model("m")
    }
}

/// A caller that loads, and the phases it is told of.
fn caller(world: &World, level: v1::Level) -> (JoinHandle<Result<(), Status>>, watch::Receiver<Vec<String>>) {
    let mut client = world.client.clone();
    let (phases, told) = watch::channel(Vec::new());
    let calling = tokio::spawn(async move {
        let mut stream = soon(client.load(to(level))).await?.into_inner();
        while let Some(message) = soon(stream.message()).await? {
            if let Some(v1::load_response::Event::Progress(progress)) = message.event {
                let records = progress.phases.into_iter();
                phases.send_replace(records.map(|record| record.phase).collect());
            }
        }
        Ok(())
    });
    (calling, told)
}

/// Brings the model to the moment, and holds it there where that can be done. The caller that waits for its end.
async fn reach(world: &World, moment: Moment) -> JoinHandle<Result<(), Status>> {
    if moment == Moment::Loading {
        let (calling, _) = caller(world, v1::Level::Loaded);
        await_stopped(&world.ground).await;
        return calling;
    }
    load(world, model("m")).await.unwrap();
    match moment {
        Moment::Warming => {
            // Ollama replaces a runner that does not answer; the embedded engine waits for it.
            if world.ground.kind == Kind::Embedded {
                await_stopped(&world.ground).await;
            }
            let (calling, mut told) = caller(world, v1::Level::Warm);
            // An error: it has ended already.
            soon(told.wait_for(|phases| phases.iter().any(|phase| phase == "warming")))
                .await
                .ok();
            calling
        }
        Moment::Unloading => {
            await_stopped(&world.ground).await;
            let mut client = world.client.clone();
            let request = v1::UnloadRequest {
                model: "m".to_owned(),
                ..Default::default()
            };
            let calling = tokio::spawn(async move { soon(client.unload(request)).await.map(drop) });
            let left = async {
                while let [one] = &running(world).await[..]
                    && one.state() == v1::running_model::State::Ready
                    && !calling.is_finished()
                {}
            };
            soon(left).await;
            calling
        }
        Moment::Ready | Moment::Loading => tokio::spawn(async { Ok(()) }),
    }
}

async fn killed(ground: Ground, victim: Victim) {
    let mut world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    for moment in MOMENTS {
        let calling = reach(&world, moment).await;
        match victim {
            Victim::Runner => {
                let runners = world.ground.runners();
                for pid in &runners {
                    kill(*pid);
                }
                until("they are gone", || {
                    runners.iter().all(|pid| !world.ground.runners().contains(pid))
                })
                .await;
            }
            Victim::Engine => {
                world.ground.down().await;
            }
            Victim::Service => {
                let World { service, ground, .. } = world;
                service.kill();
                if ground.kind == Kind::Embedded {
                    until("no process is left", || ground.runners().is_empty()).await;
                }
                world = ground.start().await;
            }
        }
        if victim == Victim::Runner && world.ground.kind == Kind::Embedded {
            // Its end is noticed a moment after it.
            soon(async { while !running(&world).await.is_empty() {} }).await;
        }
        let ended = soon(calling).await.unwrap();
        assert_ended(world.ground.kind, victim, moment, ended);
        if victim == Victim::Engine {
            world.ground.up().await;
        }
        for pid in world.ground.runners() {
            // One that Ollama kept, of a service that is gone.
            signal(pid, Signal::CONT);
        }
        assert_usable(&world).await;
    }
}

/// The answer is true, and says what to do: ask again.
fn assert_ended(kind: Kind, victim: Victim, moment: Moment, ended: Result<(), Status>) {
    // Ollama may have been faster.
    let held = kind == Kind::Embedded && matches!(moment, Moment::Loading | Moment::Warming);
    let Err(status) = ended else {
        assert!(!held, "{victim:?}, {moment:?}: it was not there");
        return;
    };
    match victim {
        Victim::Runner => assert_eq!(
            calls::told(&status),
            calls::is(Code::Aborted, "INTERRUPTED"),
            "{moment:?}: {status:?}"
        ),
        // Its answer may have begun.
        Victim::Engine if moment == Moment::Warming && status.code() == Code::Aborted => {
            assert_eq!(calls::told(&status), calls::is(Code::Aborted, "INTERRUPTED"));
        }
        Victim::Engine => assert_eq!(
            calls::told(&status),
            calls::is(Code::Unavailable, "BACKEND_UNREACHABLE"),
            "{moment:?}"
        ),
        // Nobody was there to give a reason.
        Victim::Service => assert!(matches!(status.code(), Code::Unknown | Code::Unavailable), "{status:?}"),
    }
}

/// The model is there, is loaded anew, answers, and leaves.
async fn assert_usable(world: &World) {
    // Ollama may be on its way back.
    soon(async { while world.health_of("backends/one").await != 1 {} }).await;
    let operations = soon(async {
        loop {
            let listed = world
                .operations
                .clone()
                .list(v1::OperationsListRequest::default())
                .await;
            let listed = listed.unwrap().into_inner().operations;
            if listed.iter().all(|operation| operation.end_time.is_some()) {
                return listed;
            }
        }
    });
    assert!(!operations.await.is_empty());
    assert!(world.listed("m").await.is_some());
    let told = load(world, to(v1::Level::Warm)).await.unwrap().running.unwrap();
    assert_eq!(told.state(), v1::running_model::State::Ready);
    assert_eq!(world.ground.runners().len(), 1);
    unload(world, "m").await.unwrap();
    assert_eq!(running(world).await, []);
    until("no process is left", || world.ground.runners().is_empty()).await;
}

async fn a_runner(ground: Ground) {
    killed(ground, Victim::Runner).await;
}

async fn the_engine(ground: Ground) {
    killed(ground, Victim::Engine).await;
}

async fn the_service(ground: Ground) {
    killed(ground, Victim::Service).await;
}
