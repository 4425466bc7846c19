//! Faults of the whole: `ops up` as users run it, whose processes are killed while browsers ask an environment.
//! Everything that is broken here belongs to the test: its data directory, its clusters, its ports.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot go on must stop")]

mod belongings;
mod clock;
mod daemon;
mod daemons;
mod disk;
mod enclosure;
mod ground;
mod hosts;
mod installation;
mod ledger;
mod network;
mod others;
mod outputs;
mod said;
mod seed;
mod small_image;
mod traffic;
mod tree;
mod workers;

use enclosure::enclosed;
use ground::Ground;
use installation::{Installation, Setting};
use nix::sys::signal::Signal;
use std::time::Duration;
use traffic::{Traffic, get, pretend_odoo};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_killed_roles_and_a_dead_control_cluster_fail_no_request_to_an_environment() {
    let installation = Installation::start().await;
    let odoo = pretend_odoo().await;
    installation.add_environment("library-main-0a1b2c", odoo).await;
    let host = format!("library-main-0a1b2c.{}", installation.base_domain);
    installation.until(&host, "/web/login", 200).await;
    let traffic = Traffic::start(installation.address, &host);

    for role in ["serve", "work"] {
        for _ in 0..2 {
            installation.kill(role, Signal::SIGKILL).await;
            if role == "serve" {
                installation.until(&installation.base_domain, "/healthz", 200).await;
            }
            installation.is_back(role).await;
            // However fast it is back: browsers have asked meanwhile.
            traffic.until_more(15).await;
        }
    }
    // Frozen: whoever asks it waits and gets no answer.
    installation.signal_control_cluster(Signal::SIGSTOP);
    traffic.until_more(60).await;
    installation.signal_control_cluster(Signal::SIGCONT);
    installation.kill_control_cluster().await;
    // It is followed again, by the proxy and by the console.
    installation.add_environment_when_back("library-feature-3d4e5f", pretend_odoo().await).await;
    installation.until(&format!("library-feature-3d4e5f.{}", installation.base_domain), "/", 200).await;
    installation.until(&installation.base_domain, "/readyz", 200).await;

    let (sent, failed) = traffic.stop().await;
    assert!(failed.is_empty(), "{} of {sent} failed, first: {:?}", failed.len(), failed.first());
    installation.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_killed_proxy_is_back_before_anybody_is_refused() {
    let installation = Installation::start().await;
    let odoo = pretend_odoo().await;
    installation.add_environment("library-main-0a1b2c", odoo).await;
    let host = format!("library-main-0a1b2c.{}", installation.base_domain);
    installation.until(&host, "/web/login", 200).await;
    for _ in 0..3 {
        installation.kill("proxy", Signal::SIGKILL).await;
        // The supervisor holds the port: who connects now waits for the next proxy, which knows the routes.
        let answer =
            tokio::time::timeout(Duration::from_secs(60), get(installation.address, &host, "/")).await;
        assert_eq!(answer.expect("an answer in time").expect("no refusal"), 200);
    }
    installation.stop().await;
}

/// Points of one installation share it, because its start takes longer than a fault.
#[test]
fn chaos_killed_workers() {
    enclosed("chaos_killed_workers", async |scratch| {
        let mut ground = Ground::prepare(&scratch, Setting::default()).await;
        workers::all(&mut ground).await;
        ground.stop().await;
    });
}

#[test]
fn chaos_killed_services() {
    enclosed("chaos_killed_services", async |scratch| {
        let mut ground = Ground::prepare(&scratch, Setting::default()).await;
        others::all(&mut ground).await;
        daemons::all(&mut ground).await;
        ground.stop().await;
    });
}

#[test]
fn chaos_network_cut_for_longer_than_a_lease() {
    enclosed("chaos_network_cut_for_longer_than_a_lease", async |scratch| {
        let (flag, relay, control) = network::control(&scratch).await;
        let plan = Setting { flags: vec![flag], control: Some(control), ..Setting::default() };
        let mut ground = Ground::prepare(&scratch, plan).await;
        network::all(&mut ground, &relay).await;
        ground.stop().await;
    });
}

/// The only point with two workers that both work.
#[test]
fn chaos_two_hosts_of_which_one_is_cut_off() {
    enclosed("chaos_two_hosts_of_which_one_is_cut_off", async |scratch| {
        let node = hosts::free();
        let plan = Setting { flags: vec![format!("--node-listen={node}")], ..Setting::default() };
        let mut ground = Ground::prepare(&scratch, plan).await;
        let second = hosts::Second::join(&ground, &scratch, node).await;
        hosts::all(&mut ground, &second).await;
        ground.stop().await;
    });
}

#[test]
fn chaos_full_disks() {
    enclosed("chaos_full_disks", async |scratch| {
        let plan = Setting { disks: disk::DISKS.to_vec(), ..Setting::default() };
        let mut ground = Ground::prepare(&scratch, plan).await;
        disk::all(&mut ground).await;
        ground.stop().await;
    });
}

#[test]
fn chaos_clocks_that_jump() {
    enclosed("chaos_clocks_that_jump", async |scratch| {
        let clocks = clock::Clocks::new(&scratch).await;
        let mut ground = Ground::prepare(&scratch, clocks.setting()).await;
        clock::all(&mut ground, &clocks).await;
        ground.stop().await;
    });
}
