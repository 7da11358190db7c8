//! Whoever reads, and whoever brings little, goes on while the disk is written.

use std::io::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::git::pack;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn nobody_waits_for_what_goes_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Objects::on_disk("a repository", folder.path()).unwrap();
    objects.hold(true);
    let (done, waits) = mpsc::channel();
    std::thread::scope(|scope| {
        let settling = locked(&objects.settling);
        let writing = objects.mirror.as_ref().unwrap().writing();
        let objects = &objects;
        scope.spawn(move || {
            let [ours, news] = ["ours", "news"].map(|text| Object::new(Kind::Blob, text));
            objects.keep([ours.clone()]);
            let mut packed = SpooledTempFile::new(1 << 20);
            let encoded = pack::encode(std::iter::once((&news, None)));
            packed.write_all(&encoded).unwrap();
            let fetched = Fetched {
                objects: Received::Pack(packed),
                shallow: vec![news.id],
                unshallow: Vec::new(),
            };
            objects.take(fetched, true).unwrap();
            let tips = BTreeMap::from([("refs/heads/main".to_owned(), ours.id)]);
            objects.remember_tips(&tips).unwrap();
            assert!(objects.contains(&news.id) && objects.find(&ours.id).is_some());
            assert_eq!(objects.shallow(), [news.id]);
            assert!(objects.tips().is_empty());
            done.send(()).unwrap();
        });
        let came = waits.recv_timeout(PATIENCE);
        drop((settling, writing));
        came.expect("something waits for the disk");
    });
    objects.settle().unwrap();
    assert_eq!(objects.tips().len(), 1);
}
