pub(crate) mod command;
pub(crate) mod detach;
pub(crate) mod home;
pub(crate) mod leftovers;
pub(crate) mod process;
pub(crate) mod service;
pub(crate) mod start;
pub(crate) mod start_error;
