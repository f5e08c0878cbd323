//! Trainings that are killed, stopped and told to save at any instant, and go on to the same bits.
//!
//! The clock decides when a process dies, never what a test says: a killed training must end like one that was not,
//! wherever it was.

use super::support::training::{self, Silent};
use ninc::front;
use ninc::pipeline::{self, Options};
use ninc_runtime::checkpoint::Checkpoint;
use ninc_runtime::philox::Stream;
use ninc_runtime::store::{Disk, System};
use ninc_runtime::train::job::checkpoint_path;
use ninc_runtime::train::{Control, Job, Saving, train};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const MODEL: &str = "network tiny {
    input image: [1, 8, 8]

    image
        |> conv(kernel = 3, pad = 1, channels = 8)
        |> relu
        |> max_pool(kernel = 2, stride = 2)
        |> dropout(0.2)
        |> conv(kernel = 3, pad = 1, channels = 10)
        |> global_avg_pool
        |> softmax
}

data {
    source  = digits
    prepare = [mean_std]
    augment = [shift(1), mixup(0.2)]
    valid   = 100
}

train {
    optimizer = sgd(rate = 0.2, momentum = 0.9, ramp = 3, ramp_from = 0.5)
    schedule  = plateau(patience = 2)
    average   = 0.9
    batch     = 32
    steps     = 300
    seed      = 5
}
";

/// Where a training's files are.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder for temporary files") };
        fs::write(place.folder.path().join("tiny.nin"), MODEL).expect("written");
        place
    }

    fn path(&self, out: &str) -> PathBuf {
        self.folder.path().join(out)
    }

    /// A training that saves often and says each of its steps.
    fn train(&self, out: &str, more: &[&str]) -> Command {
        self.command(out, &[&["--checkpoint-every", "7", "--keep", "2"], more].concat())
    }

    fn command(&self, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ninc"));
        let usual = ["train", "tiny.nin", "-v", "--threads", "2", "--out", out];
        command.args(usual).args(more).current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// `--resume` where there is something to resume.
    fn go_on(&self, out: &str) -> Command {
        let there = checkpoint_path(&self.path(out), "tiny").is_file();
        self.train(out, if there { &["--resume"] } else { &[] })
    }
}

/// All that must be the same after a training, in whatever way it came to its end: weights, the best weights, the log,
/// the events, and the checkpoint with the optimiser's state.
fn state(out: &Path) -> (Vec<u8>, Vec<u8>, Vec<u8>, Vec<Vec<u8>>, Checkpoint) {
    let read = |name: &str| fs::read(out.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let checkpoint = Checkpoint::read(&out.join("tiny.checkpoint")).expect("whole");
    assert!(checkpoint.cursor.log > 0 && checkpoint.cursor.events > 0);
    (read("tiny.safetensors"), read("tiny.best.safetensors"), read("tiny.log"), events(out), checkpoint)
}

/// The records of the event file, the time of day (a double behind the first tag) cut out.
fn events(out: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(out.join("tensorboard/tiny/events.out.tfevents.ninc")).expect("there");
    let (mut records, mut rest) = (vec![], &bytes[..]);
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().expect("8 bytes")) as usize;
        let data = &rest[12..12 + length];
        records.push([&data[..1], &data[9..]].concat());
        rest = &rest[12 + length + 4..];
    }
    records
}

/// Reads lines of stderr until `count` steps were said, then does `what`; the rest is read by a thread, so that the
/// child never waits.
fn after_steps(child: &mut Child, count: u32, what: impl FnOnce(&mut Child)) -> std::thread::JoinHandle<String> {
    let mut lines = BufReader::with_capacity(64, child.stderr.take().expect("piped"));
    let mut left = count;
    let mut line = String::new();
    while left > 0 && lines.read_line(&mut line).is_ok_and(|n| n > 0) {
        left -= u32::from(line.starts_with("step "));
        line.clear();
    }
    what(child);
    std::thread::spawn(move || {
        let mut rest = String::new();
        let _ = io::Read::read_to_string(&mut lines, &mut rest);
        rest
    })
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9)
}

/// Kills outside of our making: `kill -9` at random instants.
const KILLS: usize = 40;

#[test]
fn forty_kills_at_random_instants_change_nothing() {
    let place = Place::new();
    assert!(place.train("whole", &[]).output().expect("runs").status.success());
    let whole = state(&place.path("whole"));
    let mut random = Stream::new(2026, 0, 0);
    let (mut kills, mut in_saves, mut rounds) = (0, 0, 0);
    for round in 0.. {
        // A training that came to its end gives way to a new one, until there were enough kills.
        let out = format!("killed{rounds}");
        let mut child = place.go_on(&out).spawn().expect("starts");
        let wanted = kills < KILLS;
        let (steps, micros) = (random.below(16), random.below(6000));
        let rest = after_steps(&mut child, if wanted { steps } else { 0 }, |child| {
            if wanted {
                spin(Duration::from_micros(micros.into()));
                child.kill().expect("it is our child");
            }
        });
        let said = rest.join().expect("read");
        let status = child.wait().expect("ends");
        if killed(status) {
            kills += 1;
            in_saves += usize::from(
                fs::read_dir(place.path(&out))
                    .is_ok_and(|mut d| d.any(|e| e.is_ok_and(|e| e.file_name().to_string_lossy().ends_with(".tmp")))),
            );
            continue;
        }
        assert!(status.success(), "round {round}: {status} {said}");
        assert!(state(&place.path(&out)) == whole, "round {round}, after {kills} kills");
        rounds += 1;
        if kills >= KILLS {
            break;
        }
    }
    eprintln!("{kills} kills, {in_saves} of them within a save, {rounds} trainings");
}

/// Ends its own process by SIGKILL at the k-th operation on files: exactly there, whatever the clock says.
struct Deadly {
    left: Cell<usize>,
}

impl Deadly {
    fn go(&self) {
        if self.left.get() == 0 {
            let me = std::process::id().to_string();
            let _ = Command::new("kill").args(["-KILL", &me]).status();
            loop {
                std::thread::park();
            }
        }
        self.left.set(self.left.get() - 1);
    }
}

impl Disk for Deadly {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.go();
        System.create(path)
    }
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        if self.left.get() == 0 {
            // In the middle of a write.
            System.write(file, &bytes[..bytes.len() / 2])?;
        }
        self.go();
        System.write(file, bytes)
    }
    fn sync(&self, file: &File) -> io::Result<()> {
        self.go();
        System.sync(file)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.go();
        System.rename(from, to)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.go();
        System.sync_folder(folder)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.go();
        System.link(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.go();
        System.remove(path)
    }
}

const FOLDER: &str = "NINC_TEST_KILL_FOLDER";
const AT: &str = "NINC_TEST_KILL_AT";

/// The process that dies: started by the next test, with the place and the operation at which it dies.
#[test]
#[ignore = "a process of the test below"]
fn child() {
    let (Ok(folder), Ok(at)) = (std::env::var(FOLDER), std::env::var(AT)) else { return };
    let (folder, at) = (PathBuf::from(folder), at.parse().expect("a number"));
    let model = front::load(&MODEL.replace("steps     = 300", "steps     = 120"), "tiny.nin", &[]).0.expect("right");
    let options = Options::default();
    let mut trainer = pipeline::training(&model, &options).expect("compiles");
    let mut infer = pipeline::inference(&model, &options).expect("compiles");
    let disk = Deadly { left: Cell::new(at) };
    let saving = Saving { steps: Some(6), keep: 2, ..Saving::default() };
    let job = Job { saving, log_steps: true, ..training::job(&model, &trainer.params, &folder, &disk) };
    train(&job, &mut *trainer.engine, &mut *infer.engine, &mut Silent, &Control::default()).expect("trains");
}

fn run_child(folder: &Path, at: usize) -> ExitStatus {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["kill::child", "--exact", "--ignored", "--nocapture"])
        .env(FOLDER, folder)
        .env(AT, at.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("starts")
}

#[test]
fn a_kill_at_each_operation_of_a_save_changes_nothing() {
    let place = Place::new();
    assert!(run_child(&place.path("whole"), usize::MAX).success());
    let whole = state(&place.path("whole"));
    let mut kills = 0;
    // 7 operations a save (create, write, sync, rename, sync of the folder, link, remove): each is hit, in saves that
    // come first and in later ones.
    for at in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13] {
        let status = run_child(&place.path("killed"), at);
        assert!(killed(status), "{at}: {status}");
        kills += 1;
        if checkpoint_path(&place.path("killed"), "tiny").is_file() {
            Checkpoint::read(&checkpoint_path(&place.path("killed"), "tiny")).expect("whole after every kill");
        }
    }
    assert!(run_child(&place.path("killed"), usize::MAX).success());
    assert!(state(&place.path("killed")) == whole, "after {kills} kills");
    let kept = ninc_runtime::train::saving::kept(&place.path("killed"), "tiny");
    assert_eq!(kept.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [120, 114]);
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([name, &child.id().to_string()]).status().expect("kill runs");
    assert!(status.success());
}

/// Makes the pipe of stderr so small that a training cannot come to its end while nobody reads: a signal then finds it
/// under way, however slow this process is.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn narrow(child: &Child) -> std::os::fd::RawFd {
    use std::os::fd::AsRawFd;
    let pipe = child.stderr.as_ref().expect("piped").as_raw_fd();
    // SAFETY: the pipe is open as long as the child is borrowed.
    let size = unsafe { libc::fcntl(pipe, libc::F_SETPIPE_SZ, 4096) };
    assert!((4096..6000).contains(&size), "{size}");
    pipe
}

/// Bytes that wait in a pipe.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn waiting(pipe: std::os::fd::RawFd) -> i32 {
    let mut count = 0;
    // SAFETY: the call writes one int.
    assert_eq!(unsafe { libc::ioctl(pipe, libc::FIONREAD, &mut count) }, 0);
    count
}

#[cfg(target_os = "linux")]
#[test]
fn signals_stop_save_and_go_on() {
    let place = Place::new();
    assert!(place.train("whole", &[]).output().expect("runs").status.success());
    let whole = state(&place.path("whole"));

    // SIGHUP saves and goes on: the training ends as if nothing had been.
    let mut child = place.train("hup", &[]).spawn().expect("starts");
    narrow(&child);
    let rest = after_steps(&mut child, 3, |child| signal(child, "-HUP"));
    assert!(child.wait().expect("ends").success());
    let said = rest.join().expect("read");
    assert!(state(&place.path("hup")) == whole && said.contains("saved after step"), "{said}");

    // SIGINT and SIGTERM finish the step, save and say how to go on; the same bits come of it.
    for name in ["-INT", "-TERM"] {
        let out = format!("stopped{name}");
        let mut child = place.train(&out, &[]).spawn().expect("starts");
        narrow(&child);
        let rest = after_steps(&mut child, 5, |child| signal(child, name));
        let status = child.wait().expect("ends");
        let said = rest.join().expect("read");
        assert!(status.code() == Some(130) && said.contains("--resume"), "{status}: {said}");
        let output = place.go_on(&out).output().expect("runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(state(&place.path(&out)) == whole, "{name}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_second_sigint_ends_at_once() {
    let place = Place::new();
    // A line of the training may still fit the pipe, so that the step under way ends and the first signal's work is
    // done before the second one comes. That is rare; if the second one did nothing, it would be so each time.
    let unsaved = (0..10).any(|attempt| {
        let out = format!("out{attempt}");
        two_signals(&place, &out);
        !checkpoint_path(&place.path(&out), "tiny").is_file()
    });
    assert!(unsaved, "the second signal waited for the first one's save, each time");
}

/// Interrupts a training until it ends.
#[cfg(target_os = "linux")]
fn two_signals(place: &Place, out: &str) {
    let mut child = place.command(out, &["--checkpoint-every", "2h"]).spawn().expect("starts");
    // With a full pipe that nobody reads, the step under way does not end, so that the second signal finds the first
    // one's work not done.
    let pipe = narrow(&child);
    while waiting(pipe) < 4096 - 100 {
        std::thread::yield_now();
    }
    // Signals that come close together are one: it is sent until there is an end, which one alone does not bring here.
    let status = loop {
        signal(&child, "-INT");
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
    };
    assert_eq!(status.code(), Some(130));
}
