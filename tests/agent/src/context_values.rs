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

/// A sender, by what it is told to say.
#[remote]
pub fn sender(say: Vec<u8>) -> Result<Sender<String>> {
    honest(&say)
}

/// A receiver.
#[remote]
pub fn receiver(say: Vec<u8>) -> Result<Receiver<String>> {
    honest(&say)
}

/// A writer.
#[remote]
pub fn writer(say: Vec<u8>) -> Result<Writer> {
    honest(&say)
}

/// A reader.
#[remote]
pub fn reader(say: Vec<u8>) -> Result<Reader> {
    honest(&say)
}

/// A context.
#[remote]
pub fn context(say: Vec<u8>) -> Result<Context> {
    honest(&say)
}

/// What a context gives for a job.
pub type Offer = Option<(u8, Context, Sender<String>)>;

/// Contexts and senders within other values.
#[remote]
pub fn nested(say: Vec<u8>) -> Result<Vec<Offer>> {
    honest(&say)
}

/// An error that is a context.
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

/// Asks a service of another context: what it answers, or why it does not.
#[remote]
pub fn ask(of: u32, service: u32, say: Vec<u8>) -> Result<Vec<u8>> {
    let _ = (of, service);
    honest(&say)
}

/// Says that it has a child.
#[remote]
pub fn announce(child: u32, parent: u32) -> Result<()> {
    honest(&[child as u8, parent as u8])
}

/// Is told of another context, and answers with one.
#[remote]
pub fn told(other: Context, say: Vec<u8>) -> Result<Context> {
    let _ = other;
    honest(&say)
}

/// Gives back what it was given.
#[remote]
pub fn give_back(contexts: Vec<Context>, to: Sender<String>) -> (Vec<Context>, Sender<String>) {
    (contexts, to)
}

/// Gives a sender of a channel of another context's.
#[remote]
pub fn bring(cx: &Context, other: Context, sum: PathBuf) -> Result<Sender<u64>, Error> {
    let _ = cx;
    other.call(crate::channel_ends::collect { sum }).map_err(flat)
}

/// What comes of asking another context for one: its name, or why there is none.
#[remote]
pub fn fetch(cx: &Context, other: Context, tell: Option<Context>, say: Vec<u8>) -> Result<String> {
    let _ = cx;
    let outcome = match tell {
        Some(tell) => other.call(told { other: tell, say }),
        None => other.call(context { say }),
    };
    outcome.map(|context| context.name().to_owned()).map_err(|error| error.to_string())
}

/// Gives the first context that comes.
#[remote]
pub fn first(from: Receiver<Context>) -> Result<Context, Error> {
    Ok(from.recv()?)
}

/// Leaves a mark that it has run.
#[remote]
pub fn mark(path: PathBuf) -> std::io::Result<()> {
    std::fs::write(path, "it has run")
}

/// For anyone: the name of the context that it is given.
#[remote(policy = anyone)]
pub fn take(context: Context) -> String {
    context.name().to_owned()
}

/// For anyone: sends by what it is given.
#[remote(policy = anyone)]
pub fn take_sender(to: Sender<String>) -> Result<(), Error> {
    to.send(&"taken".into())
}

fn flat<E: std::fmt::Display>(error: CallError<E>) -> Error {
    Error::Function(error.to_string())
}
