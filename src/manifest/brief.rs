//! Jobs that delete themselves so soon after they ran that whoever was away finds them gone.

use serde_json::Value;

use super::error::{ManifestError, Problem};
use super::render::Rendered;

/// As long a Job should stay that runs once for each desired state, in seconds: so long Towpath, or its
/// cluster, may be away for an upgrade.
const STAYS: u64 = 600;

/// What an environment can be run with, and may surprise: in the order of files and lines.
///
/// Which Jobs with [`super::RUN`] have run is read off the cluster. One that its
/// `ttlSecondsAfterFinished` took before it was seen complete is run again.
pub fn warnings(rendered: &Rendered) -> Vec<ManifestError> {
    let hooks = rendered.objects.iter().filter(|it| it.run.is_some());
    let brief = hooks.filter_map(|object| {
        let value = object.value();
        let seconds = value.pointer("/spec/ttlSecondsAfterFinished");
        let seconds = seconds.and_then(Value::as_u64).filter(|it| *it < STAYS)?;
        Some(object.place.error(Problem::Brief {
            object: Box::new(object.reference.clone()),
            seconds,
            stays: STAYS,
        }))
    });
    let mut brief: Vec<ManifestError> = brief.collect();
    brief.sort_by_key(|it| (it.file.clone(), it.line, it.column));
    brief
}
