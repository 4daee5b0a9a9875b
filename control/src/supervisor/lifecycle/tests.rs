use super::*;

const S: Duration = Duration::from_secs(1);

fn running(has_app: bool) -> Lifecycle {
    let mut life = Lifecycle::new(has_app, 5 * S, Duration::ZERO);
    assert_eq!(life.begin(Duration::ZERO), [Action::Start(Part::Control), Action::Start(Part::DataPlane)]);
    let started = life.on(Event::CanCallOut, S);
    assert_eq!(started, if has_app { vec![Action::Start(Part::App)] } else { vec![] });
    life
}

fn ended(part: Part, code: i32) -> Event {
    Event::Ended(part, End::Code(code))
}

#[test]
fn a_signal_drains_then_ends_the_app_then_control_then_exits_with_zero() {
    let mut life = running(true);
    assert_eq!(
        life.on(Event::Signal, 2 * S),
        [Action::Say(Notice::ShuttingDown), Action::Terminate(Part::DataPlane)]
    );
    assert_eq!(life.on(ended(Part::DataPlane, 0), 3 * S), [Action::Terminate(Part::App)]);
    assert_eq!(
        life.on(Event::Ended(Part::App, End::Signal(SIGTERM)), 3 * S),
        [Action::Terminate(Part::Control)]
    );
    assert_eq!(life.on(ended(Part::Control, 0), 3 * S), [Action::Say(Notice::Graceful), Action::Exit(0)]);
    assert_eq!(life.next_due(), None);
}

#[test]
fn an_apps_own_exit_code_is_passed_on() {
    for (end, code) in [(End::Code(7), 7), (End::Code(0), 0), (End::Signal(11), 139)] {
        let mut life = running(true);
        let actions = life.on(Event::Ended(Part::App, end), 2 * S);
        assert_eq!(actions[0], Action::Say(Notice::AppEnded(end)));
        assert_eq!(actions[2], Action::Terminate(Part::DataPlane));
        assert_eq!(life.on(ended(Part::DataPlane, 0), 2 * S), [Action::Terminate(Part::Control)]);
        assert_eq!(life.on(ended(Part::Control, 0), 2 * S).last(), Some(&Action::Exit(code)));
    }
}

#[test]
fn an_app_that_answers_the_signal_with_a_code_of_its_own_keeps_it() {
    let mut life = running(true);
    life.on(Event::Signal, 2 * S);
    life.on(ended(Part::DataPlane, 0), 2 * S);
    life.on(ended(Part::App, 3), 2 * S);
    assert_eq!(life.on(ended(Part::Control, 0), 2 * S).last(), Some(&Action::Exit(3)));
}

#[test]
fn a_second_signal_ends_everything_at_once_with_code_one() {
    let mut life = running(true);
    life.on(Event::Signal, 2 * S);
    assert_eq!(
        life.on(Event::Signal, 2 * S),
        [
            Action::Kill(Part::DataPlane),
            Action::Kill(Part::App),
            Action::Kill(Part::Control),
            Action::Exit(1)
        ]
    );
}

#[test]
fn the_deadline_ends_everything_with_code_one() {
    let mut life = running(false);
    life.on(Event::Signal, 2 * S);
    assert_eq!(life.next_due(), Some(8 * S));
    assert_eq!(life.on(Event::Due, 7 * S), []);
    let actions = life.on(Event::Due, 8 * S);
    assert_eq!(actions.first(), Some(&Action::Say(Notice::Forced)));
    assert_eq!(actions.last(), Some(&Action::Exit(1)));
}

#[test]
fn an_app_gets_a_moment_also_when_draining_took_all_the_time() {
    let mut life = running(true);
    life.on(Event::Signal, 2 * S);
    life.on(ended(Part::DataPlane, 0), 8 * S - Duration::from_millis(1));
    assert!(life.next_due() > Some(8 * S + Duration::from_millis(900)), "{:?}", life.next_due());
}

#[test]
fn control_that_does_not_end_is_killed_without_harm_to_the_exit_code() {
    let mut life = running(false);
    life.on(Event::Signal, 2 * S);
    life.on(ended(Part::DataPlane, 0), 2 * S);
    let due = life.next_due().unwrap();
    assert_eq!(life.on(Event::Due, due), [Action::Kill(Part::Control)]);
    assert_eq!(
        life.on(Event::Ended(Part::Control, End::Signal(SIGKILL)), due).last(),
        Some(&Action::Exit(0))
    );
}

#[test]
fn a_killed_child_is_back_at_once_and_the_other_one_is_left_alone() {
    for part in [Part::Control, Part::DataPlane] {
        let mut life = running(true);
        let end = End::Signal(SIGKILL);
        assert_eq!(
            life.on(Event::Ended(part, end), 2 * S),
            [Action::Say(Notice::Restarting(part, end, Duration::ZERO))]
        );
        assert_eq!(life.next_due(), Some(2 * S));
        assert_eq!(life.on(Event::Due, 2 * S), [Action::Start(part)]);
        assert_eq!(life.next_due(), None);
    }
}

#[test]
fn a_child_that_ends_too_often_ends_the_sidecar_with_its_reason() {
    let mut life = running(false);
    let mut now = 2 * S;
    let last = loop {
        let actions = life.on(ended(Part::DataPlane, 9), now);
        let Some(due) = life.next_due() else { break actions };
        now = due.max(now);
        life.on(Event::Due, now);
    };
    assert_eq!(last[0], Action::Say(Notice::GivenUp(Part::DataPlane, End::Code(9))));
    assert_eq!(last.last(), Some(&Action::Exit(9)));
}

#[test]
fn a_refused_configuration_ends_the_start_at_once() {
    let mut life = Lifecycle::new(true, 5 * S, Duration::ZERO);
    life.begin(Duration::ZERO);
    assert_eq!(
        life.on(ended(Part::Control, BAD_CONFIGURATION), S),
        [Action::Say(Notice::Refused(Part::Control)), Action::Kill(Part::DataPlane), Action::Exit(1)]
    );
}

#[test]
fn a_running_sidecar_outlives_control_that_refuses_a_new_configuration() {
    let mut life = running(false);
    let actions = life.on(ended(Part::Control, BAD_CONFIGURATION), 60 * S);
    assert!(matches!(actions[0], Action::Say(Notice::Restarting(Part::Control, ..))), "{actions:?}");
}

#[test]
fn a_data_plane_that_ends_with_zero_was_asked_by_the_shutdown_api() {
    let mut life = running(true);
    let actions = life.on(ended(Part::DataPlane, 0), 2 * S);
    assert_eq!(actions, [Action::Say(Notice::ShuttingDown), Action::Terminate(Part::App)]);
}

#[test]
fn a_blocked_shutdown_keeps_serving_until_the_period_is_over() {
    let mut life = Lifecycle::new(false, 5 * S, 10 * S);
    life.begin(Duration::ZERO);
    life.on(Event::CanCallOut, S);
    assert_eq!(life.on(Event::Signal, 2 * S), [Action::Say(Notice::Blocking(10 * S))]);
    assert_eq!(life.next_due(), Some(12 * S));
    // A child that dies meanwhile is still started again.
    life.on(Event::Ended(Part::Control, End::Signal(SIGKILL)), 3 * S);
    assert_eq!(life.on(Event::Due, 3 * S), [Action::Start(Part::Control)]);
    let actions = life.on(Event::Due, 12 * S);
    assert_eq!(actions[0], Action::Say(Notice::BlockOver));
    assert_eq!(actions[2], Action::Terminate(Part::DataPlane));
}

#[test]
fn a_blocked_shutdown_ends_early_when_the_app_is_unhealthy() {
    let mut life = Lifecycle::new(false, 5 * S, 10 * S);
    life.begin(Duration::ZERO);
    life.on(Event::CanCallOut, S);
    assert_eq!(life.on(Event::AppUnhealthy, S), [], "only a blocked shutdown cares");
    life.on(Event::Signal, 2 * S);
    assert!(life.is_blocking());
    let actions = life.on(Event::AppUnhealthy, 3 * S);
    assert_eq!(actions[0], Action::Say(Notice::BlockedInVain));
    assert_eq!(actions[2], Action::Terminate(Part::DataPlane));
}

#[test]
fn a_signal_during_the_start_ends_it_in_order() {
    let mut life = Lifecycle::new(true, 5 * S, 10 * S);
    life.begin(Duration::ZERO);
    assert_eq!(life.on(Event::Signal, S).last(), Some(&Action::Terminate(Part::DataPlane)));
    assert_eq!(life.on(Event::CanCallOut, S), []);
    life.on(ended(Part::DataPlane, 0), S);
    assert_eq!(life.on(ended(Part::Control, 0), S).last(), Some(&Action::Exit(0)));
}

#[test]
fn a_drained_data_plane_that_failed_shows_in_the_exit_code() {
    let mut life = running(false);
    life.on(Event::Signal, S);
    life.on(ended(Part::DataPlane, 1), S);
    assert_eq!(life.on(ended(Part::Control, 0), S).last(), Some(&Action::Exit(1)));
}

#[test]
fn the_first_signal_does_not_disturb_an_end_that_has_begun() {
    let mut life = running(true);
    life.on(ended(Part::App, 0), S);
    assert_eq!(life.on(Event::Signal, S), []);
    assert_eq!(life.on(Event::Signal, S).last(), Some(&Action::Exit(1)));
}
