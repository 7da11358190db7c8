//! Coming to a real cluster and leaving it: what is said before anything is changed, and what is
//! deleted at the end.

use std::io::Write;

use anyhow::Result;
use jiff::Timestamp;

use crate::demo::ground::{Chosen, Ground, namespaces};
use crate::demo::lent;
use crate::demo::place::Abroad;

/// Says where it will play, and finds out whether it can. Changes nothing. With it come the namespaces
/// that an earlier demo left.
///
/// # Errors
/// The cluster cannot be found or asked, does not allow it, or has namespaces in the way; or the images
/// cannot be read.
pub(super) async fn arrive(
    chosen: Chosen,
    keep: bool,
    now: Timestamp,
    err: &mut dyn Write,
) -> Result<(Abroad, Vec<String>)> {
    let ground = Ground::find(chosen, keep).await?;
    let end = match keep {
        true => "which it makes and keeps",
        false => "which it makes, and deletes at the end",
    };
    writeln!(
        err,
        "plays on {} (context `{}`), in three namespaces, {end}: {}",
        ground.server,
        ground.chosen.context,
        namespaces().join(", ")
    )?;
    let left = ground.check(now).await?;
    if !left.is_empty() {
        writeln!(
            err,
            "an earlier demo left these, which are deleted first: {}",
            left.join(", ")
        )?;
    }
    let images = lent::borrow(&ground.chosen.images).await?;
    Ok((Abroad { ground, images }, left))
}

/// Deletes what was made, unless it is kept, and says so.
///
/// # Errors
/// Something is still there: what, and how to delete it.
pub(super) async fn leave(ground: &Ground, keep: bool, err: &mut dyn Write) -> Result<()> {
    let (server, names) = (&ground.server, namespaces().join(", "));
    if keep {
        writeln!(
            err,
            "kept on {server}: the namespaces {names}. Delete them with\n  {}",
            ground.command()
        )?;
        return Ok(());
    }
    // Whoever closed our stderr still gets it deleted.
    let said = writeln!(err, "deletes the namespaces {names} of {server}");
    ground.clear().await?;
    said?;
    writeln!(err, "deleted")?;
    Ok(())
}
