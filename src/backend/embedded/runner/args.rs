//! The command of one engine: arguments, and the little environment that it gets.
//!
//! What only newer versions of `llama-server` know is said by its variables, not by flags: an older one ignores a variable and
//! refuses a flag.

use std::{
    env,
    ffi::OsString,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
};

use tokio::process::Command;

use super::{
    RunnerSettings,
    options::{self, Launch},
    orphan,
    subject::Subject,
};

/// What is handed on: where programs, libraries and accelerators are.
const KEPT: &[&str] = &[
    "PATH",
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HSA_OVERRIDE_GFX_VERSION",
    "GGML_VK_VISIBLE_DEVICES",
    "ONEAPI_DEVICE_SELECTOR",
];

/// What is set.
const SET: &[(&str, &str)] = &[
    // A failed assertion would start a debugger where one is installed.
    ("GGML_NO_BACKTRACE", "1"),
    // Up to 8 GiB of old prompts, which no estimate knows.
    ("LLAMA_ARG_CACHE_RAM", "0"),
];

/// The arguments for `llama-server`.
pub(super) fn arguments(subject: &Subject, launch: &Launch, settings: &RunnerSettings, port: u16) -> Vec<OsString> {
    let files = &subject.files;
    let mut args: Vec<OsString> = Vec::new();
    let mut pair = |flag: &str, value: OsString| args.extend([OsString::from(flag), value]);
    pair("--model", files.weights.clone().into());
    if let Some(projector) = &files.projector {
        pair("--mmproj", projector.clone().into());
    }
    for adapter in &files.adapters {
        pair("--lora", adapter.clone().into());
    }
    // Without it callers are told the file's path.
    pair("--alias", subject.name.to_string().into());
    pair("--host", settings.listen.to_string().into());
    pair("--port", port.to_string().into());
    pair("--ctx-size", launch.context.to_string().into());
    if launch.flag("--threads").is_none() {
        pair("--threads", threads(settings).to_string().into());
    }
    if let (Some(layers), None) = (settings.gpu_layers, launch.flag("--gpu-layers")) {
        pair("--gpu-layers", layers.to_string().into());
    }
    if let Some(pooling) = options::pooling(&subject.shape, launch) {
        pair("--pooling", pooling.into());
    }
    if !subject.completes && launch.flag("--ubatch-size").is_none() {
        let batch = launch.batch(false).to_string();
        pair("--ubatch-size", batch.clone().into());
        if launch.flag("--batch-size").is_none() {
            pair("--batch-size", batch.into());
        }
    }
    for (flag, value) in &launch.flags {
        pair(flag, value.into());
    }
    if let Some(file) = &settings.key_file {
        pair("--api-key-file", file.clone().into());
    }
    args.extend(["--embeddings", "--no-webui", "--offline"].map(OsString::from));
    args.extend(settings.extra_args.iter().map(OsString::from));
    args
}

/// Our own program, which becomes the engine.
pub(super) fn command(program: &Path, settings: &RunnerSettings, args: Vec<OsString>) -> Command {
    // What runs now, although its file may have been replaced or removed.
    let own = || Some(PathBuf::from("/proc/self/exe")).filter(|path| path.exists());
    let helper = settings.helper.clone().or_else(own).or_else(|| env::current_exe().ok());
    let mut command = Command::new(helper.unwrap_or_else(|| "model-control".into()));
    command
        .arg0("model-control")
        .arg(orphan::WORD)
        .arg(std::process::id().to_string())
        .arg(program)
        .args(args)
        .current_dir("/")
        .env_clear()
        .envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))))
        .envs(SET.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A signal of the terminal to us is not one to it: it is drained.
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// The standard library asks affinity and cgroup.
fn threads(settings: &RunnerSettings) -> usize {
    let found = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    settings.threads.map_or_else(found, NonZeroUsize::get)
}
