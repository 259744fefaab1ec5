//! Logs as its first argument says, connects a context and makes it log, for the suite `logs`.

use offshoot::{Router, log_to_file, log_to_stderr};
use offshoot_test_agent::{log_everywhere, print_lines};
use offshoot_tests::records::Records;

fn main() -> offshoot::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let path = words.get(1).map_or("", String::as_str);
    let mut builder = Router::builder().package("offshoot-test-agent");
    match words.first().map(String::as_str) {
        Some("file") => builder = builder.log_filter(log_to_file(path)?),
        Some("stderr") => drop(log_to_stderr()?),
        Some("nothing") => {}
        Some("taken") => {
            let records = Records::keep();
            let refused = log_to_file(path)
                .map_or_else(|error| error.to_string(), |_| "it was taken over".into());
            builder = builder.log_level(2);
            let router = builder.start()?;
            let context = router.local().connect()?;
            context.call(log_everywhere {})?;
            let name = context.name().to_owned();
            // The end of the tree waits for what is still to be written.
            drop((context, router));
            println!("{refused}\n{}", records.of(&name).len());
            return Ok(());
        }
        _ => {
            return Err(offshoot::Error::Function(
                "file PATH, stderr, nothing or taken PATH".into(),
            ));
        }
    }
    let router = builder.start()?;
    let context = router.local().connect()?;
    tracing::info!(target: "my_program", "info of my_program");
    tracing::warn!(target: "my_program", "warn of my_program");
    context.call(log_everywhere {})?;
    context.call(print_lines {})?;
    // What was logged before its end arrives before its end.
    context.shutdown()
}
