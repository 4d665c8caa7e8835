//! How a world begins: what a plan says becomes hosts, maps and events.

use balancer_ebpf::layout;
use balancer_ebpf::layout::{
    Address, FAMILIES, Globals, Key, Listener, ListenerKey, MAX_SOURCES, OFFER_SACK, OFFER_SCALE, OFFER_TIMESTAMPS,
};
use balancer_ebpf::net::{Egress, Hop};
use rand::RngExt as _;

use super::{IDLE, Shared, World};
use crate::backend::{self, Backend};
use crate::client::Client;
use crate::daemon::{self, Daemon};
use crate::director::{BACK, Director, FRONT, SOURCE, VIP, VIP_PORT, roles};
use crate::edge::{Fault, Mutation, SimMaps};
use crate::events::{Event, Queue};
use crate::host::Host;
use crate::oracle::Oracle;
use crate::plan::{Plan, Random};
use crate::trace::Trace;

/// The director's link-layer addresses.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

impl World {
    pub(crate) fn new(seed: u64, mutation: Mutation, trace: Trace) -> Self {
        let (plan, mut random) = Plan::of(seed);
        let mut routes = Vec::new();
        let mut host = |index: usize, side: u8, stack, random: &mut Random| {
            let address = [10, side, 0, index as u8 + 1];
            let mac = [2, side, 0, 0, 0, index as u8 + 1];
            let gateway = MACS[usize::from(side) - 1];
            let mut macs = [0; 12];
            macs[..6].copy_from_slice(&mac);
            macs[6..].copy_from_slice(&gateway);
            let egress = Egress { interface: if side == 1 { FRONT } else { BACK }, flags: 0 };
            routes.push((address, Hop { egress, macs }));
            Host::new(plan.family, address, mac, gateway, stack, random.random())
        };
        let clients: Vec<Client> = (0..plan.clients.len())
            .map(|i| Client::new(host(i, 1, plan.clients[i], &mut random), plan.tabs, plan.requests, plan.jars))
            .collect();
        let backends: Vec<Backend> =
            (0..plan.backends.len()).map(|i| Backend::new(i, host(i, 2, plan.backends[i], &mut random))).collect();
        // One more, who comes when all is over.
        let sweeper = host(99, 1, plan.clients[0], &mut random);
        let mut maps = maps(&plan, &mut random);
        maps.backends =
            backends.iter().map(|b| layout::Backend::up(plan.family.address(b.host.address), backend::PORT)).collect();
        let director =
            Director::new(maps, plan.family, routes, plan.xdp, plan.partial, mutation, plan.back.damage > 0.0);
        let daemon = Daemon::new(&mut random, backends.len(), plan.pool);
        let oracle = Oracle::new(backends.len());
        let mut world = Self {
            shared: Shared { plan, random, now: 0, oracle, said: Vec::new() },
            director,
            trace,
            clients,
            backends,
            daemon,
            queue: Queue::default(),
            packets: 0,
        };
        world.clients.push(Client::new(sweeper, 0, 0, 0));
        world.daemon.write(0, &mut world.director.maps, &mut world.shared.oracle);
        world.begin();
        world
    }

    /// Plans what will happen.
    fn begin(&mut self) {
        let random = &mut self.shared.random;
        let mut events = vec![(1_000_000, Event::Watch)];
        for (index, client) in self.clients.iter_mut().enumerate() {
            for (tab, state) in client.tabs.iter_mut().enumerate() {
                let at = random.random_range(0..400_000);
                state.timer = Some(at);
                events.push((at, Event::Tab(index, tab)));
            }
        }
        for _ in 0..self.shared.plan.flips {
            events.push((random.random_range(10_000..6_000_000), Event::Operator));
        }
        for _ in 0..self.shared.plan.deaths {
            let backend = random.random_range(0..self.backends.len());
            events.push((random.random_range(10_000..6_000_000), Event::Dies(backend)));
        }
        for (at, event) in events {
            self.queue.at(at, event);
        }
    }
}

fn maps(plan: &Plan, random: &mut Random) -> SimMaps {
    let mut key = || Key { k0: random.random(), k1: random.random() };
    let source = plan.family.address(if plan.shared_address { VIP } else { SOURCE });
    let mut sources = [[Address::NONE; MAX_SOURCES]; FAMILIES];
    sources[usize::from(!source.is_v4())][0] = source;
    let globals = Globals {
        session_key: key(),
        cookie_key: key(),
        isn_key: key(),
        flows: plan.slots,
        stashes: plan.stashes,
        bucket_mask: 127,
        source_count: [source.is_v4().into(), (!source.is_v4()).into()],
        flow_idle_seconds: IDLE,
        sources,
    };
    let listener = Listener {
        service: 0,
        offers: [(plan.sack, OFFER_SACK), (plan.scales, OFFER_SCALE), (plan.timestamps, OFFER_TIMESTAMPS)]
            .iter()
            .filter_map(|(offered, bit)| offered.then_some(bit))
            .sum(),
        mss: plan.mss,
        scale: plan.scale,
    };
    let listener_key = ListenerKey { address: plan.family.address(VIP), port: VIP_PORT.to_be_bytes(), zero: [0; 2] };
    let roles = roles(plan.family, plan.shared_address);
    let mut maps = SimMaps::new(globals, roles, (listener_key, listener), daemon::policy());
    maps.fault = Some(Fault::new(plan.refusals, random.random()));
    maps
}
