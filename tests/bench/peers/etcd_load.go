// A load generator for etcd: the Go client (clientv3), one goroutine a client.
//
// tests/bench/compare_etcd.py builds it with Debian's golang-etcd-server-dev and runs it. It prints
// one JSON object, the fields of which tests/bench/compare_figures.py names. Every connection leads
// to the one endpoint that is given (the leader), but in the operation "gaps" to all of them.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/clientv3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/grpclog"
)

var (
	endpoints   = flag.String("endpoints", "", "comma separated")
	operation   = flag.String("op", "put", "put, get, stale-get, watch or gaps")
	clients     = flag.Int("clients", 1, "commands under way at a time")
	connections = flag.Int("connections", 1, "")
	perFrame    = flag.Int("per-frame", 1, "puts in one transaction")
	rate        = flag.Float64("rate", 0, "open loop: this many puts a second; 0: closed loop")
	valueBytes  = flag.Int("value-bytes", 100, "")
	keys        = flag.Int("keys", 1000, "")
	duration    = flag.Duration("duration", 5*time.Second, "")
	warmup      = flag.Duration("warmup", time.Second, "")
	timeout     = flag.Duration("timeout", 5*time.Second, "of one command")
)

// One goroutine's measurements. Latencies in nanoseconds, acknowledged commands alone.
type worker struct {
	latencies []int64
	errors    int
	lastAck   time.Time
	gap       time.Duration
}

var (
	began   time.Time // of the measured part
	ends    time.Time
	ackLock sync.Mutex
	lastAck time.Time
	gap     time.Duration
)

func dial(addresses []string) *clientv3.Client {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            addresses,
		DialTimeout:          10 * time.Second,
		DialKeepAliveTime:    time.Second,
		DialKeepAliveTimeout: time.Second,
		DialOptions:          []grpc.DialOption{grpc.WithBlock()},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "etcd_load: cannot connect:", err)
		os.Exit(69)
	}
	return client
}

func key(random *rand.Rand) string { return fmt.Sprintf("bench/%d", random.Intn(*keys)) }

func command(client *clientv3.Client, random *rand.Rand, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	switch {
	case *operation == "get":
		_, err := client.Get(ctx, key(random))
		return err
	case *operation == "stale-get":
		_, err := client.Get(ctx, key(random), clientv3.WithSerializable())
		return err
	case *perFrame > 1:
		// One transaction must not put a key twice.
		first := random.Intn(*keys)
		puts := make([]clientv3.Op, *perFrame)
		for i := range puts {
			puts[i] = clientv3.OpPut(fmt.Sprintf("bench/%d", (first+i)%*keys), value)
		}
		_, err := client.Txn(ctx).Then(puts...).Commit()
		return err
	}
	_, err := client.Put(ctx, key(random), value)
	return err
}

// The longest time without an acknowledgement of any client.
func noteAck(now time.Time) {
	ackLock.Lock()
	if waited := now.Sub(lastAck); waited > gap && lastAck.After(began) {
		gap = waited
	}
	lastAck = now
	ackLock.Unlock()
}

func (w *worker) note(from time.Time, err error) {
	now := time.Now()
	if now.Before(began) || !now.Before(ends) {
		return
	}
	if err != nil {
		w.errors++
		return
	}
	if waited := now.Sub(w.lastAck); waited > w.gap && !w.lastAck.IsZero() {
		w.gap = waited
	}
	w.lastAck = now
	w.latencies = append(w.latencies, int64(now.Sub(from)))
	if *operation == "gaps" {
		noteAck(now)
	}
}

func (w *worker) closedLoop(client *clientv3.Client, seed int64) {
	random, value := rand.New(rand.NewSource(seed)), strings.Repeat("x", *valueBytes)
	for from := time.Now(); from.Before(ends); from = time.Now() {
		w.note(from, command(client, random, value))
	}
}

// Open loop: the latency counts from the moment at which the command ought to have been sent.
func (w *worker) openLoop(client *clientv3.Client, seed int64, next *int64) {
	random, value := rand.New(rand.NewSource(seed)), strings.Repeat("x", *valueBytes)
	start := began.Add(-*warmup)
	for {
		number := atomic.AddInt64(next, 1) - 1
		due := start.Add(time.Duration(float64(number) / *rate * 1e9))
		if !due.Before(ends) || time.Now().After(ends) {
			return
		}
		time.Sleep(time.Until(due))
		w.note(due, command(client, random, value))
	}
}

// Watchers on one key, spread over the connections; from the put to the arrival at each of them.
func watch(dialed []*clientv3.Client, workers []*worker) {
	arrived := make(chan time.Time, len(workers))
	for i := range workers {
		channel := dialed[i%len(dialed)].Watch(context.Background(), "bench/watched",
			clientv3.WithCreatedNotify())
		<-channel
		go func() {
			for range channel {
				arrived <- time.Now()
			}
		}()
	}
	began = time.Now().Add(*warmup)
	ends = began.Add(*duration)
	fmt.Fprintln(os.Stderr, "ready")
	for time.Now().Before(ends) {
		from := time.Now()
		if _, err := dialed[0].Put(context.Background(), "bench/watched", "x"); err != nil {
			workers[0].errors++
			continue
		}
		for range workers {
			now := <-arrived
			if from.After(began) {
				workers[0].latencies = append(workers[0].latencies, int64(now.Sub(from)))
			}
		}
	}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func prefill(client *clientv3.Client) {
	value := strings.Repeat("x", *valueBytes)
	for first := 0; first < *keys; first += 100 {
		puts := []clientv3.Op{}
		for i := first; i < first+100 && i < *keys; i++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("bench/%d", i), value))
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		_, err := client.Txn(ctx).Then(puts...).Commit()
		cancel()
		if err != nil {
			fmt.Fprintln(os.Stderr, "etcd_load: cannot fill the keys:", err)
			os.Exit(69)
		}
	}
}

func report(workers []*worker, cpu float64) {
	all, errors, clientGap, commands := []int64{}, 0, time.Duration(0), 1
	for _, w := range workers {
		all = append(all, w.latencies...)
		errors += w.errors
		if w.gap > clientGap {
			clientGap = w.gap
		}
	}
	if *operation == "put" {
		commands = *perFrame
	}
	sort.Slice(all, func(a, b int) bool { return all[a] < all[b] })
	at := func(share float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return float64(all[int(share*float64(len(all)-1))]) / 1e6
	}
	encoded, _ := json.Marshal(map[string]interface{}{
		"ops": len(all) * commands, "errors": errors, "elapsed_s": duration.Seconds(),
		"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1), "generator_cpu_s": cpu,
		"gap_ms": gap.Seconds() * 1e3, "client_gap_ms": clientGap.Seconds() * 1e3,
	})
	fmt.Println(string(encoded))
}

func main() {
	flag.Parse()
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(os.Stderr, os.Stderr, os.Stderr))
	addresses := strings.Split(*endpoints, ",")
	dialed := make([]*clientv3.Client, *connections)
	var group sync.WaitGroup
	for i := range dialed {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			dialed[i] = dial(addresses)
		}(i)
	}
	group.Wait()
	prefill(dialed[0])
	count := *clients
	if *operation == "put" && *perFrame > 1 {
		count = (*clients + *perFrame - 1) / *perFrame
	}
	workers := make([]*worker, count)
	for i := range workers {
		workers[i] = &worker{}
	}
	before, next := cpuSeconds(), int64(0)
	if *operation == "watch" {
		watch(dialed, workers)
		report(workers, cpuSeconds()-before)
		return
	}
	began = time.Now().Add(*warmup)
	ends = began.Add(*duration)
	lastAck = began
	for i, w := range workers {
		group.Add(1)
		go func(i int, w *worker) {
			defer group.Done()
			if *rate > 0 {
				w.openLoop(dialed[i%len(dialed)], int64(i), &next)
			} else {
				w.closedLoop(dialed[i%len(dialed)], int64(i))
			}
		}(i, w)
	}
	fmt.Fprintln(os.Stderr, "ready")
	group.Wait()
	report(workers, cpuSeconds()-before)
}
