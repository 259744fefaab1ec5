pub(crate) mod root;
pub(crate) mod sink;
pub(crate) mod spans;
pub(crate) mod subscriber;
pub(crate) mod text;
