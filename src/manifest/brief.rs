//! Jobs that delete themselves, and so may run more often than whoever wrote them thinks.

use serde_json::Value;

use super::error::{ManifestError, Problem};
use super::render::Rendered;

/// As long a Job should stay that runs once for each desired state, in seconds: so long Towpath, or its
/// cluster, may be away for an upgrade.
const STAYS: u64 = 600;

/// What an environment can be run with, and may surprise: in the order of files and lines.
///
/// Which Jobs with [`super::RUN`] have run is read off the cluster: one that its
/// `ttlSecondsAfterFinished` took before it was seen complete is run again. Any other Job is an object like
/// every other: it is missing once it deleted itself, and applied again.
pub fn warnings(rendered: &Rendered) -> Vec<ManifestError> {
    let jobs = rendered.objects.iter();
    let jobs = jobs.filter(|it| it.reference.group_kind() == "Job.batch");
    let brief = jobs.filter_map(|job| {
        let value = job.value();
        let seconds = value.pointer("/spec/ttlSecondsAfterFinished");
        let seconds = seconds.and_then(Value::as_u64)?;
        let object = Box::new(job.reference.clone());
        let problem = match job.run {
            None => Problem::Recurring(object),
            Some(_) if seconds < STAYS => Problem::Brief {
                object,
                seconds,
                stays: STAYS,
            },
            Some(_) => return None,
        };
        Some(job.place.error(problem))
    });
    let mut brief: Vec<ManifestError> = brief.collect();
    brief.sort_by_key(|it| (it.file.clone(), it.line, it.column));
    brief
}
