/* The hand-over of a VM between two hosts, for SPIN: an independent check of core/ownership.py.
 *
 * Written from what QEMU does by itself and from the rules of the hand-over, not from the table: agents read
 * journals and QEMUs and act; links are first in, first out. Faults have budgets. See README.md for the runs.
 *
 *   -DRP=1        return-path on: the source waits for the destination's acknowledgement
 *   -DEV=0        no event log: a dead QEMU leaves no trace of whether it ran (use with -DLAX)
 *   -DQCRASH=n -DACRASH=n -DNLOSS=n -DBREAKS=n    deaths, agents' crashes, messages lost or doubled, streams broken
 *   -DCAP=n        messages that a link holds, each way
 *   mutants: -DAUTOSTART -DTAKE_BACK -DNO_JOURNAL -DIMPATIENT -DGO_AT_STOP -DUNASKED -DWAITS_FOR_EVER
 */
#ifndef RP
#define RP 0
#endif
#ifndef EV
#define EV 1
#endif
#ifndef QCRASH
#define QCRASH 1
#endif
#ifndef ACRASH
#define ACRASH 1
#endif
#ifndef NLOSS
#define NLOSS 1
#endif
#ifndef CAP
#define CAP 1
#endif
#ifndef BREAKS
#define BREAKS 1
#endif

mtype = { OWN, OFFER, GIVEN, LAST, DONE, RECLAIM, LOST, ARMED, HOLD, KEEP, RETURNED, CONTING, RUNNING, CLOSED, DIED }
mtype = { RUNS, SENDS, STOPPED, UNACKED, SENT, FAILING, WAKING, RESUMED, DEAD, WAITS, LOADED, UNLOADED, RUN }
mtype = { GO, GO_LAST, ABORT, RAN, RETURN, RETURN_DEAD, UNKNOWN }
mtype = { NOT_BEGUN, UP, TAIL, BROKEN }

mtype sj = OWN, dj = ARMED;             /* the journals */
mtype qs = RUNS, qd = WAITS;            /* the QEMUs */
mtype stream = NOT_BEGUN;
bool s_failed, s_resumed, d_resumed;    /* status failed; RESUME in the log */
bool s_stale, d_stale, offered, died;
byte acrash = ACRASH, nloss = NLOSS;
chan to_d = [CAP] of { mtype };
chan to_s = [CAP] of { mtype };

#define S_LIVE (qs == RUNS || qs == SENDS || qs == RESUMED)
#define S_COPY (qs != DEAD && !s_stale)
#define D_COPY (!d_stale && (qd == LOADED || qd == WAKING || qd == RUN || (qd == WAITS && stream == TAIL)))
#define CURRENT (S_COPY || D_COPY)
#define ONE_RUNS ((S_LIVE && qd != RUN) || (!S_LIVE && qd == RUN))
#define AT_REST ((sj == OWN || sj == DONE || sj == LOST || sj == DIED) && (dj == RUNNING || dj == CLOSED || dj == DIED || dj == LOST))
#ifdef LAX
#define RIGHT (AT_REST && (ONE_RUNS || !CURRENT || sj == LOST))
#else
#define RIGHT (AT_REST && (ONE_RUNS || !CURRENT))
#endif

#define STEP(x) atomic { x; CRASH }
#define CRASH if :: acrash > 0 -> acrash--; goto restart :: skip fi
#define SEND(c, m) atomic { if :: nfull(c) -> c!m :: full(c) -> skip fi }
#define DIES(q) q = DEAD; if :: stream == UP -> stream = BROKEN :: else -> skip fi
#define DIES_D qd = DEAD; if :: stream == UP || stream == TAIL -> stream = BROKEN :: else -> skip fi
#define CONT_S atomic { if :: qs == SENT || qs == FAILING -> qs = WAKING; s_resumed = true; d_stale = true :: else -> skip fi }
#define CONT_D atomic { assert(qd != WAITS); if :: qd == LOADED -> qd = WAKING; d_resumed = true; s_stale = true :: else -> skip fi }
#ifdef LAX
#define QUIT_S atomic { if :: qs != DEAD -> DIES(qs) :: else -> skip fi }
#define QUIT_D atomic { if :: qd != DEAD -> DIES_D :: else -> skip fi }
#else
#define QUIT_S atomic { if :: qs != DEAD -> assert(s_stale || D_COPY); DIES(qs) :: else -> skip fi }
#define QUIT_D atomic { if :: qd != DEAD -> assert(S_COPY || !D_COPY); DIES_D :: else -> skip fi }
#endif

active proctype SourceQemu() {
end:	do
	:: atomic { qs == SENDS && stream == BROKEN -> s_failed = true; qs = RESUMED }
	:: atomic { qs == SENDS && stream != BROKEN -> qs = STOPPED }
	:: atomic { qs == STOPPED && stream == UP -> stream = TAIL; qs = (RP -> UNACKED : SENT) }
	:: atomic { (qs == STOPPED || qs == UNACKED) && stream == BROKEN -> s_failed = true; qs = FAILING }
	:: atomic { qs == UNACKED && (qd == LOADED || qd == WAKING || qd == RUN) -> qs = SENT }
	:: atomic { qs == FAILING -> s_resumed = true; d_stale = true; qs = WAKING }
	:: atomic { qs == WAKING -> assert(!s_stale); assert(qd != RUN); qs = RESUMED }
	od
}

active proctype DestinationQemu() {
end:	do
	:: atomic { qd == WAITS && stream == TAIL -> qd = LOADED }
	:: atomic { qd == WAITS && stream == BROKEN -> qd = UNLOADED }
#ifdef AUTOSTART
	:: atomic { qd == LOADED -> d_resumed = true; s_stale = true; qd = WAKING }
#endif
	:: atomic { qd == WAKING -> assert(!d_stale); assert(!S_LIVE); qd = RUN }
	od
}

active proctype Nature() {
	byte qcrash = QCRASH, breaks = BREAKS;
	do
	:: atomic { qcrash > 0 && qs != DEAD -> qcrash--; died = true; DIES(qs) }
	:: atomic { qcrash > 0 && qd != DEAD -> qcrash--; died = true; DIES_D }
	:: atomic { breaks > 0 && (stream == UP || stream == TAIL) -> breaks--; stream = BROKEN }
	:: atomic { nloss > 0 && nempty(to_d) -> nloss--; to_d?_ }
	:: atomic { nloss > 0 && nempty(to_s) -> nloss--; to_s?_ }
	:: break
	od
}

/* A message is taken; or only read, and so comes a second time. */
#define TAKE(c, m) atomic { c?<m>; if :: c?_ :: nloss > 0 -> nloss-- fi; CRASH }

#define S_SEES ((sj == OFFER && (qs == SENT || qs == FAILING || qs == RESUMED || qs == RUNS || qs == DEAD)) || \
	(sj == GIVEN && qs == DEAD) || (sj == RECLAIM && qs != WAKING) || (sj == DONE && qs != DEAD) || (sj == OWN && qs == DEAD))
#ifdef GO_AT_STOP
#define S_HASTY (sj == OFFER && (qs == STOPPED || qs == UNACKED))
#else
#define S_HASTY false
#endif

active proctype Source() {
	mtype m;
	bool sent, failed, runs;
restart:
	atomic { m = 0; sent = false; failed = false; runs = false }
end:	do
	:: sj == OWN && !offered && qs == RUNS && dj == ARMED ->
		STEP(offered = true); STEP(sj = OFFER);
		atomic { if :: qs == RUNS -> qs = SENDS; s_resumed = false; stream = (qd == WAITS -> UP : BROKEN) :: else -> skip fi }
	:: atomic { S_HASTY -> CRASH }; STEP(sj = GIVEN); SEND(to_d, GO)
	:: atomic { sj == OFFER && qs == DEAD -> CRASH };
		if
		:: RP && !(EV && !s_resumed) -> STEP(sj = LOST); SEND(to_d, ABORT)
		:: else -> STEP(sj = LAST); SEND(to_d, GO_LAST)
		fi
	:: sj == OFFER && (qs == SENT || qs == FAILING || qs == RESUMED || qs == RUNS) ->
		/* two questions, and QEMU may go on between them */
		STEP(sent = (qs == SENT); failed = (s_failed || qs == RUNS));
		STEP(runs = S_LIVE);
		if
		:: sent && !runs -> STEP(sj = GIVEN); SEND(to_d, GO)
		:: sent && !runs -> STEP(sj = RECLAIM); CONT_S		/* withdrawn before GO was ever sent */
		:: failed && runs -> STEP(sj = OWN); SEND(to_d, ABORT)
		:: failed && !runs && !sent -> STEP(sj = RECLAIM); CONT_S
		fi; sent = false; failed = false; runs = false
	:: atomic { sj == GIVEN && qs == DEAD -> CRASH }; STEP(sj = LAST); SEND(to_d, GO_LAST)
	:: sj == GIVEN && qs != DEAD && empty(to_d) && empty(to_s) -> SEND(to_d, GO)
	:: sj == LAST && empty(to_d) && empty(to_s) -> SEND(to_d, GO_LAST)
#ifdef TAKE_BACK
	:: sj == GIVEN && qs != DEAD -> STEP(sj = RECLAIM); CONT_S
#endif
	:: atomic { sj == RECLAIM && qs == DEAD -> CRASH };
		if
		:: EV && !s_resumed -> STEP(sj = LAST); SEND(to_d, GO_LAST)
		:: else -> STEP(sj = LOST); SEND(to_d, ABORT)
		fi
	:: atomic { sj == RECLAIM && (qs == SENT || qs == FAILING) -> CRASH }; CONT_S
	:: atomic { sj == RECLAIM && qs == RESUMED -> CRASH }; STEP(sj = OWN); SEND(to_d, ABORT)
	:: atomic { sj == OWN && qs == DEAD -> CRASH }; sj = DIED
	:: atomic { sj == DONE && qs != DEAD -> CRASH }; QUIT_S
	/* the manager, which has the source's word that it does not wait for the destination */
#ifdef UNASKED
	:: offered && (dj == ARMED || dj == RETURNED) && empty(to_d) -> SEND(to_d, ABORT)
#else
	:: (sj == DIED || sj == LOST || (sj == OWN && offered)) && qs != RUNS && (dj == ARMED || dj == RETURNED) && empty(to_d) ->
		offered = true; SEND(to_d, ABORT)
#endif
	:: !S_SEES && nempty(to_s) -> TAKE(to_s, m);
		if
		:: m == RAN && (sj == GIVEN || sj == LAST) -> STEP(sj = DONE); QUIT_S
		:: (m == RETURN || m == RETURN_DEAD) && sj == GIVEN -> STEP(sj = RECLAIM); CONT_S
		:: m == RETURN && sj == LAST -> SEND(to_d, GO_LAST)
		:: m == RETURN_DEAD && sj == LAST -> sj = LOST
		:: m == UNKNOWN && (sj == GIVEN || sj == LAST) -> sj = LOST
		:: m == RAN && sj != GIVEN && sj != LAST -> assert(sj == DONE)
		:: else -> skip
		fi; m = 0
	od
}

#ifdef WAITS_FOR_EVER
#define D_ALONE false
#else
#define D_ALONE (dj == KEEP && qd == WAITS && stream == NOT_BEGUN)
#endif
#define D_SEES (D_ALONE || ((dj == HOLD || dj == KEEP) && qd != WAITS) || (dj == CONTING && qd != WAKING) || \
	(dj == ARMED || dj == RETURNED) && (qd == DEAD || qd == UNLOADED) || (dj == RUNNING && qd == DEAD) || (dj == CLOSED && qd != DEAD))

active proctype Destination() {
	mtype m;
restart:
	m = 0;
end:	do
	:: atomic { (dj == HOLD || dj == KEEP) && qd == LOADED -> CRASH };
#ifdef NO_JOURNAL
		CONT_D; STEP(skip); dj = CONTING
#else
		STEP(dj = CONTING); CONT_D
#endif
	:: atomic { (dj == HOLD || dj == KEEP) && (qd == DEAD || qd == UNLOADED) -> CRASH }; STEP(dj = CLOSED); SEND(to_s, RETURN_DEAD)
	:: atomic { dj == HOLD && qd == WAITS -> CRASH }; STEP(dj = RETURNED); SEND(to_s, RETURN)		/* stalled */
	:: atomic { D_ALONE -> CRASH }; STEP(dj = CLOSED); SEND(to_s, RETURN_DEAD); QUIT_D	/* nobody will connect */
#ifdef IMPATIENT
	:: dj == ARMED && offered -> dj = CLOSED; QUIT_D
#endif
	:: atomic { (dj == ARMED || dj == RETURNED) && (qd == DEAD || qd == UNLOADED) -> CRASH }; dj = CLOSED
	:: atomic { dj == CONTING && qd == LOADED -> CRASH }; CONT_D
	:: atomic { dj == CONTING && qd == RUN -> CRASH }; STEP(dj = RUNNING); SEND(to_s, RAN)
	:: atomic { dj == CONTING && qd == DEAD -> CRASH };
		if
		:: EV && !d_resumed -> STEP(dj = CLOSED); SEND(to_s, RETURN_DEAD)
		:: EV && d_resumed -> STEP(dj = DIED); SEND(to_s, RAN)
		:: !EV -> STEP(dj = LOST); SEND(to_s, UNKNOWN)
		fi
	:: atomic { dj == RUNNING && qd == DEAD -> CRASH }; dj = DIED
	:: atomic { dj == CLOSED && qd != DEAD -> CRASH }; QUIT_D
	:: !D_SEES && nempty(to_d) -> TAKE(to_d, m);
		if
		:: m == GO && dj == ARMED -> dj = HOLD
		:: m == GO_LAST && (dj == ARMED || dj == HOLD || dj == RETURNED) -> dj = KEEP
		:: m == GO && dj == RETURNED -> SEND(to_s, RETURN)
		:: m != ABORT && dj == CLOSED -> SEND(to_s, RETURN_DEAD)
		:: m != ABORT && (dj == RUNNING || dj == DIED) -> SEND(to_s, RAN)
		:: m != ABORT && dj == LOST -> SEND(to_s, UNKNOWN)
		:: m == ABORT && (dj == ARMED || dj == RETURNED) -> STEP(dj = CLOSED); QUIT_D
		:: m == ABORT && (dj == HOLD || dj == KEEP || dj == CONTING || dj == RUNNING) -> assert(false)
		:: else -> skip
		fi; m = 0
	od
}

ltl one { [] (!(S_LIVE && qd == RUN)) }
ltl rest { <> [] RIGHT || [] (sj == OWN && !offered) }
ltl kept { [] (died || CURRENT) }
