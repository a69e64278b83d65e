use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::symlink,
};

use super::*;
use crate::source::{Lone, Unusable, open_unconfined};

/// A root beside a file that must stay unread.
struct Fixture {
    base: tempfile::TempDir,
    root: PathBuf,
    roots: Roots,
}

impl Fixture {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().canonicalize().unwrap().join("root");
        fs::create_dir_all(root.join("folder")).unwrap();
        fs::write(root.join("folder/model.gguf"), "inside").unwrap();
        fs::write(base.path().join("secret"), "outside").unwrap();
        let roots = Roots::new(std::slice::from_ref(&root)).unwrap();
        Self { base, root, roots }
    }

    /// Opens a path relative to the root.
    fn open(&self, path: &str) -> Result<Located, Error> {
        self.roots.open(&format!("{}/{path}", self.root.display()))
    }

    fn link(&self, target: &str, link: &str) {
        symlink(target, self.root.join(link)).unwrap();
    }
}

fn text(located: Located) -> String {
    let Located::File(Lone { opened, .. }) = located else {
        panic!("a folder");
    };
    let mut text = String::new();
    (&*opened.file).read_to_string(&mut text).unwrap();
    text
}

fn reason(answer: Result<Located, Error>) -> Unusable {
    match answer.unwrap_err() {
        Error::NotUsable { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

fn outside(answer: &Result<Located, Error>) -> bool {
    matches!(answer, Err(Error::NotAllowed(Refusal::Outside)))
}

#[test]
fn a_file_beneath_the_root_is_opened() {
    let fixture = Fixture::new();
    assert_eq!(text(fixture.open("folder/model.gguf").unwrap()), "inside");
    assert_eq!(text(fixture.open("/folder/.//model.gguf").unwrap()), "inside");
    for folder in ["", "folder", "folder/"] {
        assert!(matches!(fixture.open(folder).unwrap(), Located::Folder(_)), "{folder}");
    }
}

#[test]
fn paths_are_judged_before_the_file_system_is_asked() {
    let fixture = Fixture::new();
    for relative in ["", "model.gguf", "./x", "~/x"] {
        assert!(
            matches!(fixture.roots.open(relative), Err(Error::NotAbsolute)),
            "{relative}"
        );
    }
    assert!(matches!(fixture.open("folder/model.gguf\0x"), Err(Error::Nul)));
    for up in ["../secret", "..", "folder/../folder/model.gguf", "none/../../secret"] {
        let refused = fixture.open(up).unwrap_err();
        assert!(
            matches!(refused, Error::NotAllowed(Refusal::ParentFolder)),
            "{up}: {refused}"
        );
    }
    // A name that begins like the root is not beneath it.
    let beside = format!("{}2/model.gguf", fixture.root.display());
    assert!(outside(&fixture.roots.open(&beside)));
    // Two dots in a name are no way up.
    fs::write(fixture.root.join("a..b"), "dots").unwrap();
    assert_eq!(text(fixture.open("a..b").unwrap()), "dots");
}

#[test]
fn outside_the_roots_the_answer_is_the_same_whether_it_exists() {
    let fixture = Fixture::new();
    let base = fixture.base.path();
    fixture.link("../secret", "to-file");
    fixture.link("../nothing", "to-nothing");
    fixture.link("..", "to-folder");
    let below = [
        fixture.root.join("to-file"),
        fixture.root.join("to-nothing"),
        fixture.root.join("to-folder/secret"),
        fixture.root.join("to-folder/nothing"),
    ];
    let mut paths = vec![
        base.join("secret"),
        base.join("nothing"),
        base.join("secret/below"),
        base.to_owned(),
        PathBuf::from("/"),
    ];
    if cfg!(target_os = "linux") {
        paths.extend(below);
    } else {
        // Every link is refused there, wherever it leads.
        assert!(
            below
                .iter()
                .all(|path| reason(fixture.roots.open(path.to_str().unwrap())) == Unusable::LinkRefused)
        );
    }
    for path in paths {
        let refused = fixture.roots.open(path.to_str().unwrap()).unwrap_err();
        let expected = "NotAllowed(Outside): the path is not under a model root of this service";
        assert_eq!(format!("{refused:?}: {refused}"), expected, "{}", path.display());
    }
    // Within them it is not.
    let missing = fixture.open("folder/none.gguf").unwrap_err();
    assert_eq!(missing.to_string(), "there is no `none.gguf`");
    assert!(matches!(
        fixture.open("folder/model.gguf/x"),
        Err(Error::NotFound { .. })
    ));
}

#[test]
fn without_roots_callers_have_no_paths() {
    let refused = Roots::new(&[]).unwrap().open("/etc/passwd").unwrap_err();
    assert!(matches!(refused, Error::NotAllowed(Refusal::NoRoots)));
    assert!(refused.to_string().contains("--model-root"), "{refused}");
}

#[test]
fn a_root_may_be_a_link_and_is_followed_once() {
    let fixture = Fixture::new();
    let link = fixture.base.path().join("link");
    symlink(&fixture.root, &link).unwrap();
    let roots = Roots::new(std::slice::from_ref(&link)).unwrap();
    let through = |folder: &Path| roots.open(folder.join("folder/model.gguf").to_str().unwrap());
    // As the operator wrote it, and as a caller sees it who resolved it.
    assert_eq!(text(through(&link).unwrap()), "inside");
    assert_eq!(text(through(&fixture.root).unwrap()), "inside");
    // Whoever turns the link later turns nothing.
    let other = fixture.base.path().join("other/folder");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("model.gguf"), "outside").unwrap();
    fs::remove_file(&link).unwrap();
    symlink("other", &link).unwrap();
    assert_eq!(text(through(&link).unwrap()), "inside");
}

#[test]
fn a_root_that_is_no_folder_is_named() {
    let fixture = Fixture::new();
    for path in ["none", "secret"] {
        let path = fixture.base.path().join(path);
        let error = Roots::new(std::slice::from_ref(&path)).unwrap_err();
        assert_eq!(error.path, path);
        assert!(error.to_string().starts_with("the model root `/"), "{error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn links_that_stay_beneath_the_root_are_followed_and_no_others() {
    let fixture = Fixture::new();
    fixture.link("folder/model.gguf", "beneath");
    fixture.link("../folder/model.gguf", "folder/up-and-down");
    fixture.link("folder", "folder-link");
    assert_eq!(text(fixture.open("beneath").unwrap()), "inside");
    assert_eq!(text(fixture.open("folder/up-and-down").unwrap()), "inside");
    assert_eq!(text(fixture.open("folder-link/model.gguf").unwrap()), "inside");

    fixture.link("../secret", "out");
    fixture.link("../root/folder/model.gguf", "out-and-back");
    fixture.link(&format!("{}/folder/model.gguf", fixture.root.display()), "absolute");
    fixture.link("/proc/self/fd/0", "magic");
    for link in ["out", "out-and-back", "absolute", "magic"] {
        assert!(outside(&fixture.open(link)), "{link}");
    }
    fixture.link("loop-b", "loop-a");
    fixture.link("loop-a", "loop-b");
    assert_eq!(reason(fixture.open("loop-a")), Unusable::Links);
    fixture.link("none", "dangling");
    assert!(matches!(fixture.open("dangling"), Err(Error::NotFound { .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn the_kernels_own_links_are_not_followed() {
    use std::os::fd::AsRawFd as _;
    let fixture = Fixture::new();
    let secret = File::open(fixture.base.path().join("secret")).unwrap();
    let path = format!("/proc/self/fd/{}", secret.as_raw_fd());
    assert!(outside(&fixture.roots.open(&path)));
    // Not even where the operator let callers into /proc.
    let roots = Roots::new(&[PathBuf::from("/proc")]).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), secret.as_raw_fd());
    assert_eq!(reason(roots.open(&path)), Unusable::Links);
}

#[test]
fn what_leads_out_of_an_inner_root_may_stay_in_an_outer_one() {
    let fixture = Fixture::new();
    fixture.link("../shared", "folder/link");
    fs::write(fixture.root.join("shared"), "shared").unwrap();
    let inner = fixture.root.join("folder");
    let path = inner.join("link");
    let only_inner = Roots::new(std::slice::from_ref(&inner)).unwrap();
    let both = Roots::new(&[inner, fixture.root.clone()]).unwrap();
    if cfg!(target_os = "linux") {
        assert!(outside(&only_inner.open(path.to_str().unwrap())));
        assert_eq!(text(both.open(path.to_str().unwrap()).unwrap()), "shared");
    }
}

/// Runs on a thread of its own: an opening that waits must fail the test, not hang it.
#[cfg(target_os = "linux")]
#[test]
fn only_regular_files_are_opened_and_none_makes_us_wait() {
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, mknodat};
    let fixture = Fixture::new();
    mknodat(
        CWD,
        fixture.root.join("pipe"),
        FileType::Fifo,
        Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(fixture.root.join("socket")).unwrap();
    let (sent, answers) = std::sync::mpsc::sync_channel(1);
    let pipe = fixture.root.join("pipe");
    std::thread::spawn(move || {
        let confined = reason(fixture.open("pipe"));
        let unconfined = reason(open_unconfined(&pipe));
        let socket = reason(fixture.open("socket"));
        sent.send((confined, unconfined, socket)).unwrap();
    });
    let answers = answers.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    assert_eq!(answers, (Unusable::Fifo, Unusable::Fifo, Unusable::Socket));

    let roots = Roots::new(&[PathBuf::from("/dev")]).unwrap();
    for device in ["/dev/null", "/dev/zero"] {
        assert_eq!(reason(roots.open(device)), Unusable::Device, "{device}");
        assert_eq!(reason(open_unconfined(Path::new(device))), Unusable::Device, "{device}");
    }
}

#[test]
fn what_may_not_be_read_says_so() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::new();
    let path = fixture.root.join("folder/model.gguf");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    if File::open(&path).is_ok() {
        // Who may read everything cannot see this refusal; its mapping is checked all the same.
        let error = Error::opening("model.gguf", rustix::io::Errno::ACCESS);
        assert_eq!(
            error.to_string(),
            "`model.gguf` may not be read by this service: permission denied"
        );
        return;
    }
    assert_eq!(reason(fixture.open("folder/model.gguf")), Unusable::Permission);
}

#[test]
fn a_name_too_long_is_no_failure_of_ours() {
    let fixture = Fixture::new();
    assert_eq!(reason(fixture.open(&"x".repeat(300))), Unusable::NameTooLong);
    // The kernel looks at the whole path first, the walk at a part at a time.
    let answer = fixture.open(&"x/".repeat(5_000)).unwrap_err();
    assert!(
        matches!(answer, Error::NotUsable { .. } | Error::NotFound { .. }),
        "{answer}"
    );
}

#[test]
fn the_operators_word_needs_no_root() {
    let fixture = Fixture::new();
    let link = fixture.base.path().join("link.gguf");
    symlink(fixture.root.join("folder/model.gguf"), &link).unwrap();
    assert_eq!(text(open_unconfined(&link).unwrap()), "inside");
    let missing = open_unconfined(&fixture.root.join("none.gguf")).unwrap_err();
    assert_eq!(missing.to_string(), "there is no `none.gguf`");
}

/// A link is turned between a file inside and one outside while it is opened.
#[cfg(target_os = "linux")]
#[test]
fn a_link_that_turns_never_opens_what_lies_outside() {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::source::tests::SetAtEnd;

    let fixture = Fixture::new();
    fs::create_dir(fixture.base.path().join("elsewhere")).unwrap();
    fs::write(fixture.base.path().join("elsewhere/model.gguf"), "outside").unwrap();
    fixture.link("folder/model.gguf", "file");
    fixture.link("folder", "way");
    let done = AtomicBool::new(false);
    let turn = |link: &str, target: &str| {
        let new = fixture.root.join(format!("{link}.new"));
        symlink(target, &new).unwrap();
        fs::rename(&new, fixture.root.join(link)).unwrap();
    };
    let (mut opened, mut refused) = (0, 0);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    std::thread::scope(|scope| {
        // Set also when an assertion fails: the scope waits for its threads.
        let _done = SetAtEnd(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                turn("file", "../secret");
                turn("way", "../elsewhere");
                turn("file", "folder/model.gguf");
                turn("way", "folder");
            }
        });
        // The turning thread may stand still for all of a fixed number of tries, so both sides must have been seen.
        for tries in 0.. {
            if tries >= 5_000 && opened > 0 && refused > 0 {
                break;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "opened {opened}, refused {refused}"
            );
            for path in ["file", "way/model.gguf"] {
                match fixture.open(path) {
                    Ok(located) => {
                        opened += 1;
                        assert_eq!(text(located), "inside");
                    }
                    Err(Error::NotAllowed(Refusal::Outside)) => refused += 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    });
}
