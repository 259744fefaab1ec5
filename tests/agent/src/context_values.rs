//! Functions that take and return contexts and channel ends.
//!
//! A hostile child answers them with the bytes it is told to say. An honest agent can only say the
//! truth, and refuses.

use std::path::PathBuf;

use offshoot::{CallError, Context, Error, Reader, Receiver, Sender, Writer, remote};

type Result<T, E = String> = std::result::Result<T, E>;

fn honest<T>(say: &[u8]) -> Result<T> {
    Err(format!("an honest context does not say {say:?}"))
}

/// Returns a sender; a hostile child replies with the bytes `say`.
#[remote]
pub fn sender(say: Vec<u8>) -> Result<Sender<String>> {
    honest(&say)
}

/// Returns a receiver.
#[remote]
pub fn receiver(say: Vec<u8>) -> Result<Receiver<String>> {
    honest(&say)
}

/// Returns a writer.
#[remote]
pub fn writer(say: Vec<u8>) -> Result<Writer> {
    honest(&say)
}

/// Returns a reader.
#[remote]
pub fn reader(say: Vec<u8>) -> Result<Reader> {
    honest(&say)
}

/// Returns a context.
#[remote]
pub fn context(say: Vec<u8>) -> Result<Context> {
    honest(&say)
}

/// A nested value with a context and a sender.
pub type Offer = Option<(u8, Context, Sender<String>)>;

/// Returns contexts and senders nested in other values.
#[remote]
pub fn nested(say: Vec<u8>) -> Result<Vec<Offer>> {
    honest(&say)
}

/// Fails with a context as its error.
#[remote]
pub fn error(say: Vec<u8>) -> Result<(), Context> {
    let _ = say;
    Ok(())
}

/// Sends a context over a channel.
#[remote]
pub fn send(say: Vec<u8>, to: Sender<Context>) -> Result<()> {
    let _ = to;
    honest(&say)
}

/// Sends a request to a service of another context; returns the reply.
#[remote]
pub fn ask(of: u32, service: u32, say: Vec<u8>) -> Result<Vec<u8>> {
    let _ = (of, service);
    honest(&say)
}

/// Announces a child.
#[remote]
pub fn announce(child: u32, parent: u32) -> Result<()> {
    honest(&[child as u8, parent as u8])
}

/// Takes a context and returns one.
#[remote]
pub fn told(other: Context, say: Vec<u8>) -> Result<Context> {
    let _ = other;
    honest(&say)
}

/// Returns its arguments.
#[remote]
pub fn give_back(contexts: Vec<Context>, to: Sender<String>) -> (Vec<Context>, Sender<String>) {
    (contexts, to)
}

/// Returns a sender to a channel of another context.
#[remote]
pub fn bring(cx: &Context, other: Context, sum: PathBuf) -> Result<Sender<u64>, Error> {
    let _ = cx;
    other
        .call(crate::channel_ends::collect { sum })
        .map_err(flat)
}

/// Calls another context for a context; returns its name or the error.
#[remote]
pub fn fetch(cx: &Context, other: Context, tell: Option<Context>, say: Vec<u8>) -> Result<String> {
    let _ = cx;
    let outcome = match tell {
        Some(tell) => other.call(told { other: tell, say }),
        None => other.call(context { say }),
    };
    outcome
        .map(|context| context.name().to_owned())
        .map_err(|error| error.to_string())
}

/// Returns the first context received.
#[remote]
pub fn first(from: Receiver<Context>) -> Result<Context, Error> {
    Ok(from.recv()?)
}

/// Creates a file as proof that it ran.
#[remote]
pub fn mark(path: PathBuf) -> std::io::Result<()> {
    std::fs::write(path, "it has run")
}

/// For anyone: returns the name of its argument.
#[remote(policy = anyone)]
pub fn take(context: Context) -> String {
    context.name().to_owned()
}

/// For anyone: sends through its argument.
#[remote(policy = anyone)]
pub fn take_sender(to: Sender<String>) -> Result<(), Error> {
    to.send(&"taken".into())
}

fn flat<E: std::fmt::Display>(error: CallError<E>) -> Error {
    Error::Function(error.to_string())
}
