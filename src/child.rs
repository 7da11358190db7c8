//! Runs another program: what it is given on its standard input, and what it says, within bounds. The deadline is
//! the caller's; a program that is waited for no longer is killed.

use std::io;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// What is read of its complaints, in bytes.
const COMPLAINTS_MAX: u64 = 16 << 10;

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, as far as it was asked for.
    pub output: Vec<u8>,
    /// The beginning of its standard error.
    pub complaints: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It is not there, or cannot be started.
    #[error("it cannot be started: {0}")]
    Start(io::Error),
    /// It was started, and what it says cannot be read.
    #[error("its answer cannot be read: {0}")]
    Read(io::Error),
    /// How it ended cannot be seen.
    #[error("its end cannot be seen: {0}")]
    End(io::Error),
}

impl ChildError {
    /// Whether there is no such program.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Start(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Runs it with this input, and takes at most so many bytes of its output.
///
/// # Errors
/// [`ChildError`]; how it ended is part of the answer.
pub async fn ask(mut command: Command, input: &[u8], most: u64) -> Result<Said, ChildError> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(ChildError::Start)?;
    let (taken, said, complained) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut taken) = taken {
            // Whoever does not read to the end says why by its exit code.
            let _unread = taken.write_all(input).await;
        }
    };
    let (mut output, mut complaints) = (Vec::new(), Vec::new());
    let read = async {
        match said {
            Some(said) => said.take(most).read_to_end(&mut output).await,
            None => Ok(0),
        }
    };
    let listen = async {
        if let Some(mut complained) = complained {
            let mut first = (&mut complained).take(COMPLAINTS_MAX);
            let _unheard = first.read_to_end(&mut complaints).await;
            // A pipe that nobody empties would keep it from its end.
            let _rest = tokio::io::copy(&mut complained, &mut tokio::io::sink()).await;
        }
    };
    let ((), read, ()) = tokio::join!(write, read, listen);
    read.map_err(ChildError::Read)?;
    let status = child.wait().await.map_err(ChildError::End)?;
    Ok(Said {
        status,
        output,
        complaints,
    })
}
