pub struct Job;

#[offshoot::remote]
fn work(job: Job) {
    let _ = job;
}

fn main() {}
