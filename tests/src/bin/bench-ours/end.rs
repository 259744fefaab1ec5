//! The end of a whole tree: the seconds from a signal until the last process has ended, for a
//! killed controller, a killed agent, and a killed agent with stopped agents below it.

use std::collections::BTreeSet;
use std::time::Instant;

use nix::sys::signal::Signal;
use offshoot_tests::dying_controller::DyingController;
use offshoot_tests::process::signal;

use crate::Numbers;

pub(crate) fn measure() -> Numbers {
    let program = std::env::current_exe()?.with_file_name("dying-controller");
    let program = program.to_str().ok_or("the path is not UTF-8")?;
    let start = || {
        let controller = DyingController::start(program, "ssh", "wait");
        controller.expect_all_up();
        controller
    };
    let mut seconds = Vec::new();
    {
        let controller = start();
        let mut all = controller.from_on(0);
        all.extend(controller.behind_ssh());
        seconds.push(end(&controller, controller.controller(), &all));
        controller.kill("the controller");
    }
    for stopped in [false, true] {
        let controller = start();
        let below = controller.from_on(1);
        for place in controller.places[2..].iter().filter(|_| stopped) {
            signal(place.process, Signal::SIGSTOP);
        }
        seconds.push(end(&controller, controller.places[1].process, &below));
        controller.kill("the first agent");
    }
    Ok(seconds)
}

/// Kills a process and returns the seconds until all of the others have ended.
fn end(controller: &DyingController, victim: u32, others: &BTreeSet<u32>) -> f64 {
    let begun = Instant::now();
    signal(victim, Signal::SIGKILL);
    controller.expect_gone(others, "measured");
    begun.elapsed().as_secs_f64()
}
