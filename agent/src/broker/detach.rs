//! Letting go by name: of a program, or of this whole context.

use super::Broker;
use super::requests::{answer, unreadable};
use crate::below::let_go;
use crate::codec;
use crate::error::Error;
use crate::id::FlowKey;
use crate::program::DetachOrder;
use crate::remote::{failed, value};
use crate::shared::{Core, Endpoint};
use crate::sys::life::Mark;

impl Broker {
    /// The order to let something go.
    pub(super) fn detach(&mut self, core: &mut Core, flow: FlowKey, request: &[u8]) {
        let order: DetachOrder = match codec::from_bytes(request) {
            Ok(order) => order,
            Err(error) => return unreadable(core, flow, error),
        };
        let reply = match self.detach_program(core, FlowKey { handle: order.program, ..flow }) {
            Ok(process) => {
                tracing::info!("let go: {} (process {process})", order.name);
                value(&process)
            }
            Err(detail) => failed(&Error::System { action: format!("letting {} go", order.name), detail }),
        };
        answer(core, flow, reply);
    }

    fn detach_program(&mut self, core: &mut Core, flow: FlowKey) -> Result<u32, String> {
        let Some(Endpoint::Program(number, u8::MAX)) = core.endpoints.get(&flow) else {
            return Err("it has ended".into());
        };
        let number = *number;
        let process = self.programs.get(&number).and_then(super::Program::detachable);
        let process = process.ok_or("it has ended, or was not started as detachable")?;
        let_go(process, Mark::PROGRAM).map_err(|error| error.to_string())?;
        self.give_up(core, number);
        Ok(process)
    }
}
