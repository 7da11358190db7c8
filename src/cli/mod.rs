//! The commands: arguments in, answers on stdout, the rest on stderr.

pub mod set_image;
