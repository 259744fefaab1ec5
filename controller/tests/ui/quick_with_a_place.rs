use offshoot::{Context, Reader, Receiver, Sender, Writer, remote};

type Progress = Sender<u8>;

#[remote(quick)]
fn subscribe() -> Sender<u8> {
    unreachable!()
}

#[remote(quick)]
fn report(progress: Progress) {
    let _ = progress;
}

#[remote(quick)]
fn streams() -> Result<(Vec<Reader>, [Option<Writer>; 2]), String> {
    unreachable!()
}

#[remote(quick)]
fn receive(from: Box<Receiver<(u8, Context)>>) {
    let _ = from;
}

fn main() {}
