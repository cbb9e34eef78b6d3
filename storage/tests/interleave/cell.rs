//! The cell alone.

use shuttle::scheduler::DfsScheduler;
use shuttle::sync::mpsc;
use shuttle::{Config, Runner, thread};

use crate::current::Current;
use crate::rounds;
use crate::sync::Arc;

/// Loads a value, and returns also how often that took a look.
fn load(cell: &Current<u32>) -> (u32, u32) {
    let mut n_looks = 1;
    loop {
        if let Some(found) = cell.look() {
            return (*found, n_looks);
        }
        n_looks += 1;
    }
}

/// Loads values while others are published.
fn read_beside(n_updates: u32, n_loads: usize) {
    let cell = Arc::new(Current::new(0));
    let writer = {
        let cell = Arc::clone(&cell);
        thread::spawn(move || (0..n_updates).for_each(|_| cell.update(|n| n + 1)))
    };
    let loads: Vec<(u32, u32)> = (0..n_loads).map(|_| load(&cell)).collect();
    assert!(loads.is_sorted_by_key(|(value, _)| *value), "it goes back: {loads:?}");
    let n_again: u32 = loads.iter().map(|(_, n_looks)| n_looks - 1).sum();
    assert!(n_again <= n_updates, "it spins: {loads:?}");
    writer.join().unwrap();
    assert_eq!(*cell.load(), n_updates);
}

#[test]
fn a_reader_sees_values_in_order_and_looks_again_only_for_a_newer_one() {
    let mut sizes = vec![(1, 2), (2, 1)];
    if rounds(0) > 0 {
        // 4,297,327 orders.
        sizes.push((2, 2));
    }
    for (n_updates, n_loads) in sizes {
        let all = DfsScheduler::new(None, false);
        let run = move || read_beside(n_updates, n_loads);
        let n_orders = Runner::new(all, Config::default()).run(run);
        println!("{n_updates} updates and {n_loads} loads: {n_orders} orders, which are all");
    }
    shuttle::check_random(|| read_beside(3, 3), rounds(20_000));
    shuttle::check_pct(|| read_beside(3, 3), rounds(20_000), 3);
}

#[test]
fn no_value_of_two_writers_is_lost() {
    let run = || {
        let cell = Arc::new(Current::new(0));
        let write = |cell: Arc<Current<u32>>| move || (0..2).for_each(|_| cell.update(|n| n + 1));
        let others = [0, 1].map(|_| thread::spawn(write(Arc::clone(&cell))));
        let seen = *cell.load();
        others.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(seen <= 4);
        assert_eq!(*cell.load(), 4);
    };
    shuttle::check_random(run, rounds(20_000));
    shuttle::check_pct(run, rounds(20_000), 3);
}

#[test]
fn a_reader_does_not_wait_for_a_writer_that_has_stopped_half_way() {
    let run = || {
        let cell = Arc::new(Current::new(0));
        let (done, is_done) = mpsc::channel();
        let writer = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || {
                cell.update(|n| {
                    is_done.recv().unwrap();
                    n + 1
                });
            })
        };
        // A reader that waited would never say that it is done.
        assert_eq!(*cell.load(), 0);
        done.send(()).unwrap();
        writer.join().unwrap();
    };
    shuttle::check_dfs(run, None);
}

#[test]
fn what_was_replaced_is_held_by_its_readers_alone() {
    let run = || {
        let cell = Arc::new(Current::new(Arc::new(0)));
        let first = Arc::clone(&cell.load());
        let reader = {
            let cell = Arc::clone(&cell);
            thread::spawn(move || drop(cell.load()))
        };
        cell.update(|n| Arc::new(**n + 1));
        reader.join().unwrap();
        assert_eq!(Arc::strong_count(&first), 1);
    };
    shuttle::check_dfs(run, None);
}
