//! The long parts of the data path as global functions, once for each hook: the verifier reads each by itself, and its stack
//! is free again when the next one is called.
//!
//! The scratch memory and the globals are the same ones on both sides of a call, so they are not passed.

/// Makes the functions `balancer_<hook>_<step>` for contexts of type `$context`, of which `$frame` makes a
/// frame whose window begins where the packet's does.
macro_rules! global_steps {
    ($hook:literal, $context:ty, |$pointer:ident, $base:ident| $frame:expr) => {
        /// What a step answers where there is no configuration yet.
        const UNCONFIGURED: u64 = functions::pack_step((Next::Done, Verdict::NoConfig));

        global_steps!(@flow $hook, $context, |$pointer, $base| $frame, "_client", step_client, client_step);
        global_steps!(@flow $hook, $context, |$pointer, $base| $frame, "_request", step_request, request_step);
        global_steps!(@flow $hook, $context, |$pointer, $base| $frame, "_accept", step_accept, accept_step);
        global_steps!(@flow $hook, $context, |$pointer, $base| $frame, "_backend", step_backend, backend_step);
        global_steps!(@flow $hook, $context, |$pointer, $base| $frame, "_opening", step_opening, opening_step);

        #[unsafe(export_name = concat!("balancer_", $hook, "_open"))]
        #[inline(never)]
        extern "C" fn step_open($pointer: *mut $context, flow: *mut Flow, ns: u64, next: u32) -> u64 {
            // SAFETY: null or a whole flow, which the caller has locked; the verifier checks it at every call.
            let (Some(flow), Some(work), Some(globals)) = (unsafe { flow.as_mut() }, work(), Kernel.globals()) else {
                return UNCONFIGURED;
            };
            let (now, next, $base) = (Now::at(ns), Next::from_number(next), base(work));
            functions::pack_step(splice::open_step(&Kernel, &mut $frame, work, globals, flow, now, next))
        }

        #[unsafe(export_name = concat!("balancer_", $hook, "_hold"))]
        #[inline(never)]
        extern "C" fn step_hold($pointer: *mut $context, flow: *mut Flow) -> u64 {
            // SAFETY: as above.
            let (Some(flow), Some(work), Some(globals)) = (unsafe { flow.as_mut() }, work(), Kernel.globals()) else {
                return UNCONFIGURED;
            };
            let $base = base(work);
            functions::pack_step(splice::hold_step(&Kernel, &mut $frame, work, globals, flow))
        }

        #[unsafe(export_name = concat!("balancer_", $hook, "_finish"))]
        #[inline(never)]
        extern "C" fn step_finish($pointer: *mut $context, flow: *mut Flow, step: u64) -> u32 {
            // SAFETY: as above.
            let (Some(flow), Some(work)) = (unsafe { flow.as_mut() }, work()) else {
                return Verdict::NoConfig as u32;
            };
            let $base = base(work);
            splice::finish(&Kernel, &mut $frame, work, flow, functions::stepped(step)) as u32
        }

        #[unsafe(export_name = concat!("balancer_", $hook, "_follow"))]
        #[inline(never)]
        extern "C" fn step_follow($pointer: *mut $context, cursor: *mut Cursor, from: u32, until: u32) -> u32 {
            // SAFETY: null or a whole cursor, which the caller holds; the verifier checks it at every call.
            let (Some(cursor), Some(work)) = (unsafe { cursor.as_mut() }, work()) else {
                return Scanned::TooComplex as u32;
            };
            let $base = base(work);
            splice::follow(&Kernel, &mut $frame, work, cursor, Seq(from), Seq(until)) as u32
        }

        #[unsafe(export_name = concat!("balancer_", $hook, "_idle"))]
        #[inline(never)]
        extern "C" fn step_idle($pointer: *mut $context, slot: u32) -> u32 {
            let Some(work) = work() else { return Verdict::NoConfig as u32 };
            let $base = base(work);
            splice::idle_step(&Kernel, &mut $frame, work, slot) as u32
        }

        #[unsafe(export_name = concat!("balancer_", $hook, "_sound"))]
        #[inline(never)]
        extern "C" fn step_sound($pointer: *mut $context) -> u32 {
            let Some(work) = work() else { return 0 };
            let $base = base(work);
            u32::from(is_sound(&mut $frame, work))
        }

        /// 0, or one more than the verdict.
        #[unsafe(export_name = concat!("balancer_", $hook, "_short"))]
        #[inline(never)]
        extern "C" fn step_short($pointer: *mut $context, flow: *mut Flow, of_leg: u32, ns: u64) -> u32 {
            // SAFETY: as above.
            let (Some(flow), Some(work)) = (unsafe { flow.as_mut() }, work()) else {
                return Verdict::NoConfig as u32 + 1;
            };
            let $base = base(work);
            match splice::short(&Kernel, &mut $frame, work, flow, of_leg != 0, Now::at(ns)) {
                None => 0,
                Some(verdict) => verdict as u32 + 1,
            }
        }

        /// The same.
        #[unsafe(export_name = concat!("balancer_", $hook, "_verify"))]
        #[inline(never)]
        extern "C" fn step_verify($pointer: *mut $context, flow: *mut Flow, of_leg: u32) -> u32 {
            // SAFETY: as above.
            let (Some(flow), Some(work)) = (unsafe { flow.as_mut() }, work()) else {
                return Verdict::NoConfig as u32 + 1;
            };
            let $base = base(work);
            match splice::verify(&Kernel, &mut $frame, work, flow, of_leg != 0) {
                Ok(()) => 0,
                Err(verdict) => verdict as u32 + 1,
            }
        }

        #[unsafe(export_name = concat!("balancer_", $hook, "_too_big"))]
        #[inline(never)]
        extern "C" fn step_too_big($pointer: *mut $context) -> u32 {
            let Some(work) = work() else { return Verdict::NoConfig as u32 };
            let $base = base(work);
            splice::too_big(&Kernel, &mut $frame, work) as u32
        }

        #[unsafe(export_name = concat!("balancer_", $hook, "_extended"))]
        #[inline(never)]
        extern "C" fn step_extended($pointer: *mut $context) -> u32 {
            let Some(work) = work() else { return Verdict::NoConfig as u32 };
            let $base = base(work);
            splice::extended(&mut $frame) as u32
        }

        #[unsafe(export_name = concat!("balancer_", $hook, "_arrival"))]
        #[inline(never)]
        extern "C" fn step_arrival($pointer: *mut $context, ns: u64, known: u32) -> u64 {
            let (Some(work), Some(globals)) = (work(), Kernel.globals()) else {
                return functions::pack(Err(Verdict::NoConfig));
            };
            let $base = base(work);
            functions::pack(splice::arrival(&Kernel, &mut $frame, work, globals, Now::at(ns), known))
        }
    };
    (@flow $hook:literal, $context:ty, |$pointer:ident, $base:ident| $frame:expr, $name:literal, $function:ident, $step:ident) => {
        #[unsafe(export_name = concat!("balancer_", $hook, $name))]
        #[inline(never)]
        extern "C" fn $function($pointer: *mut $context, flow: *mut Flow, ns: u64) -> u64 {
            // SAFETY: as above.
            let (Some(flow), Some(work), Some(globals)) = (unsafe { flow.as_mut() }, work(), Kernel.globals()) else {
                return UNCONFIGURED;
            };
            let $base = base(work);
            functions::pack_step(splice::$step(&Kernel, &mut $frame, work, globals, flow, Now::at(ns)))
        }
    };
}

/// The methods of `Frame` that call them, for a frame whose context lies in `$context`.
macro_rules! step_methods {
    ($context:ident) => {
        step_methods!(@flow $context, client_step, step_client);
        step_methods!(@flow $context, request_step, step_request);
        step_methods!(@flow $context, accept_step, step_accept);
        step_methods!(@flow $context, backend_step, step_backend);
        step_methods!(@flow $context, opening_step, step_opening);

        #[inline(always)]
        fn arrival<M: Maps>(&mut self, _: &M, _: &mut Work, _: &Globals, now: Now, known: u32) -> Result<u32, Verdict> {
            functions::arrived(step_arrival(self.$context, now.ns, known))
        }

        #[inline(always)]
        fn follow<M: Maps>(&mut self, _: &M, _: &mut Work, cursor: &mut Cursor, from: Seq, until: Seq) -> Scanned {
            Scanned::from_number(step_follow(self.$context, cursor, from.0, until.0))
        }

        #[inline(always)]
        fn idle_step<M: Maps>(&mut self, _: &M, _: &mut Work, slot: u32) -> Verdict {
            Verdict::from_number(step_idle(self.$context, slot))
        }

        #[inline(always)]
        fn hold_step<M: Maps>(&mut self, _: &M, _: &mut Work, _: &Globals, flow: &mut Flow) -> Step {
            functions::stepped(step_hold(self.$context, flow))
        }

        #[inline(always)]
        fn is_sound(&mut self, _: &mut Work) -> bool {
            step_sound(self.$context) != 0
        }

        #[inline(always)]
        fn short<M: Maps>(&mut self, _: &M, _: &mut Work, flow: &mut Flow, of_leg: bool, now: Now) -> Option<Verdict> {
            match step_short(self.$context, flow, u32::from(of_leg), now.ns) {
                0 => None,
                verdict => Some(Verdict::from_number(verdict.wrapping_sub(1))),
            }
        }

        #[inline(always)]
        fn verify<M: Maps>(&mut self, _: &M, _: &mut Work, flow: &mut Flow, of_leg: bool) -> Result<(), Verdict> {
            match step_verify(self.$context, flow, u32::from(of_leg)) {
                0 => Ok(()),
                verdict => Err(Verdict::from_number(verdict.wrapping_sub(1))),
            }
        }

        #[inline(always)]
        fn too_big<M: Maps>(&mut self, _: &M, _: &mut Work) -> Verdict {
            Verdict::from_number(step_too_big(self.$context))
        }

        #[inline(always)]
        fn extended(&mut self) -> Verdict {
            Verdict::from_number(step_extended(self.$context))
        }

        #[inline(always)]
        fn open_step<M: Maps>(
            &mut self,
            _: &M,
            _: &mut Work,
            _: &Globals,
            flow: &mut Flow,
            now: Now,
            next: Next,
        ) -> Step {
            functions::stepped(step_open(self.$context, flow, now.ns, next as u32))
        }

        #[inline(always)]
        fn finish<M: Maps>(&mut self, _: &M, _: &mut Work, flow: &mut Flow, step: Step) -> Verdict {
            Verdict::from_number(step_finish(self.$context, flow, functions::pack_step(step)))
        }
    };
    (@flow $context:ident, $method:ident, $function:ident) => {
        #[inline(always)]
        fn $method<M: Maps>(&mut self, _: &M, _: &mut Work, _: &Globals, flow: &mut Flow, now: Now) -> Step {
            functions::stepped($function(self.$context, flow, now.ns))
        }
    };
}
