//! Every door of [`towpath::doors`], knocked at with what is valid, what once broke it (`fixtures/doors/`), and what
//! is made of both. A door breaks by a panic, by taking more than a second or more than 256 MiB for one
//! input, or by its own word on what should be true.
//!
//! Each door is knocked at by a process of its own, which may take no more memory than that: so an overflow of
//! the stack, an abort and the end of memory are seen like any panic. More inputs with `TOWPATH_DOORS=N`, others
//! with `TOWPATH_DOORS_SEED=N`; one door with `TOWPATH_DOORS_ONLY=NAME`.
//!
//! What is covered elsewhere stands there: values of every kind in generated manifests, with an oracle that
//! knows where the images are (`manifest/generated.rs`); situations with anything in them (`health.rs`);
//! configurations with bytes cut and doubled (`config.rs`); statements as they are folded
//! (`model/record/present/tests.rs`); differences of git's objects (`git/delta.rs`).

mod knock;
mod mutate;

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use towpath::doors::{self, Door};

/// Set for the process that knocks: which door.
const DOOR: &str = "TOWPATH_DOOR";
/// The file in which it keeps the input at hand.
const AT_HAND: &str = "TOWPATH_DOORS_AT";

/// Memory of the process that knocks, in KiB: 256 MiB, and 32 for itself.
const MEMORY: u32 = (256 + 32) << 10;

/// Inputs that are made for each door, unless more are asked for.
const INPUTS: u32 = 300;

/// Doors behind which much is done: they are given a part of the inputs.
const SLOW: [(&str, u32); 6] = [
    ("arguments", 20),
    ("configuration", 4),
    ("git-pack", 4),
    ("kubernetes-health", 2),
    ("manifest", 2),
    ("patch", 2),
];

fn fixtures(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(below)
}

/// A number that the environment may set.
fn number(name: &str) -> Option<u32> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")),
    )
}

#[test]
fn every_door_holds() {
    if let Ok(name) = std::env::var(DOOR) {
        return knock::at(&name);
    }
    let only = std::env::var("TOWPATH_DOORS_ONLY").ok();
    let mut all = doors::all();
    all.retain(|door| only.as_ref().is_none_or(|only| door.name == only));
    assert!(!all.is_empty(), "no door is named {only:?}");
    let (doors, broken) = (Mutex::new(all.iter()), Mutex::new(Vec::new()));
    let next = || doors.lock().unwrap_or_else(PoisonError::into_inner).next();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(door) = next() {
                    if let Err(told) = sent_to(door) {
                        broken
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push(told);
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

#[test]
fn every_door_has_a_name_and_a_corpus_and_every_corpus_a_door() {
    let mut names: Vec<&str> = doors::all().iter().map(|door| door.name).collect();
    names.sort_unstable();
    let mut folders: Vec<String> = fs::read_dir(fixtures("doors"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(names, folders);
    let known = |name: &str| names.contains(&name);
    assert!(SLOW.iter().all(|(name, _)| known(name)));
}

/// A process knocks at it; what broke.
#[expect(
    clippy::disallowed_methods,
    reason = "the limits of a process are set by a shell"
)]
fn sent_to(door: &Door) -> Result<(), String> {
    let at_hand = tempfile::NamedTempFile::new().unwrap();
    let began = Instant::now();
    let child = Command::new("sh")
        .args(["-c", &format!("ulimit -d {MEMORY}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "doors::every_door_holds",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DOOR, door.name)
        .env(AT_HAND, at_hand.path())
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (said, complained, how) = ended(child);
    let counted = said
        .split_once("knocked")
        .and_then(|(_, rest)| rest.lines().next());
    let Some(counted) = counted else {
        let input = fs::read(at_hand.path()).unwrap();
        return Err(broken(
            door,
            &input,
            &format!("{}\n{how}", complained.trim()),
        ));
    };
    println!(
        "{:<22} {}, all in {:.1} s",
        door.name,
        counted.trim(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What it said, what it complained of, and how it ended.
fn ended(mut child: Child) -> (String, String, String) {
    let mut said = Vec::new();
    let mut complained = child.stderr.take().unwrap();
    let complained = std::thread::spawn(move || {
        let mut text = Vec::new();
        complained.read_to_end(&mut text).unwrap();
        text
    });
    child.stdout.take().unwrap().read_to_end(&mut said).unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let status = child.wait().unwrap();
    (
        text(said),
        text(complained.join().unwrap()),
        status.to_string(),
    )
}

/// What is told of a broken door, with the input to keep.
fn broken(door: &Door, input: &[u8], why: &str) -> String {
    let name = door.name;
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("door-{name}"));
    fs::write(&kept, input).unwrap();
    let shown: String = input
        .iter()
        .take(2_000)
        .flat_map(|byte| byte.escape_ascii())
        .map(char::from)
        .collect();
    format!(
        "the door `{name}` broke ({} bytes): {why}\n  input: {shown}\n  it is in {}: once mended, copy it to fixtures/doors/{name}/ under a name that says what it is",
        input.len(),
        kept.display(),
    )
}
