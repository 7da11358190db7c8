//! One door of [`towpath::doors`], which `TOWPATH_DOOR` names: libFuzzer hands in what reaches code that nothing
//! reached before. A panic ends it, and so does what the door itself says should be true; time and memory are
//! libFuzzer's to bound (`-timeout`, `-rss_limit_mb`).

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use towpath::doors::{self, Door};

static DOOR: LazyLock<Door> = LazyLock::new(|| {
    let name = std::env::var("TOWPATH_DOOR").unwrap_or_default();
    let named = doors::all().into_iter().find(|door| door.name == name);
    named.unwrap_or_else(|| {
        let names: Vec<_> = doors::all().iter().map(|door| door.name).collect();
        panic!("TOWPATH_DOOR is `{name}`, which is none of: {}", names.join(", "))
    })
});

fuzz_target!(|bytes: &[u8]| {
    if let Err(untrue) = (DOOR.knock)(bytes) {
        panic!("the door `{}`: {untrue}", DOOR.name);
    }
});
