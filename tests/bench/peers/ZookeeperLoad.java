// A load generator for ZooKeeper: its own Java client, one handle a connection, asynchronous calls.
//
// tests/bench/compare_zookeeper.py runs it from source ("java ZookeeperLoad.java"). Same options and
// same JSON object as etcd_load.go. A client is one chain of calls: the next is made when the one
// before is answered. A linearizable read is sync() and getData(), both sent at once: a session's
// calls are answered in order.

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;

public class ZookeeperLoad {
    static final Map<String, String> options = new HashMap<>();
    static String operation;
    static int keys;
    static byte[] value;
    static long beganNs, endsNs;
    static final AtomicLong errors = new AtomicLong();
    static final Object ackLock = new Object();
    static long lastAckNs, gapNs;

    static long number(String name, long otherwise) {
        return Long.parseLong(options.getOrDefault(name, "" + otherwise));
    }

    static ZooKeeper connect(String addresses) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper handle = new ZooKeeper(addresses, (int) number("session-ms", 60_000), event -> {
            if (event.getState() == Watcher.Event.KeeperState.SyncConnected) connected.countDown();
        });
        if (!connected.await(30, TimeUnit.SECONDS)) {
            System.err.println("ZookeeperLoad: cannot connect to " + addresses);
            System.exit(69);
        }
        return handle;
    }

    static void create(ZooKeeper handle, String path) throws Exception {
        try {
            handle.create(path, value, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
        } catch (KeeperException.NodeExistsException known) {
            // Of an earlier run.
        }
    }

    static void prefill(ZooKeeper handle) throws Exception {
        create(handle, "/bench");
        CountDownLatch left = new CountDownLatch(keys);
        for (int i = 0; i < keys; i++) {
            handle.create("/bench/" + i, value, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT,
                (code, path, context, name) -> left.countDown(), null);
        }
        if (!left.await(60, TimeUnit.SECONDS)) throw new IllegalStateException("keys not made");
    }

    // One chain of calls with its measurements. Callbacks of a handle run in that handle's thread.
    static class Client {
        final ZooKeeper handle;
        final SplittableRandom random;
        long[] latencies = new long[1024];
        int count;
        long lastNs, worstNs;
        final CountDownLatch over = new CountDownLatch(1);

        Client(ZooKeeper handle, long seed) {
            this.handle = handle;
            this.random = new SplittableRandom(seed);
        }

        void note(long fromNs, int code) {
            long now = System.nanoTime();
            if (now < beganNs || now >= endsNs) return;
            if (code != 0) {
                errors.incrementAndGet();
                return;
            }
            if (lastNs != 0) worstNs = Math.max(worstNs, now - lastNs);
            lastNs = now;
            if (count == latencies.length) latencies = Arrays.copyOf(latencies, 2 * count);
            latencies[count++] = now - fromNs;
            synchronized (ackLock) {
                if (lastAckNs > beganNs) gapNs = Math.max(gapNs, now - lastAckNs);
                lastAckNs = now;
            }
        }

        void call(long fromNs, Runnable next) {
            String path = "/bench/" + random.nextInt(keys);
            if (operation.equals("get") || operation.equals("stale-get")) {
                if (operation.equals("get")) handle.sync(path, (code, p, context) -> { }, null);
                handle.getData(path, false, (code, p, context, data, stat) -> {
                    note(fromNs, code);
                    next.run();
                }, null);
                return;
            }
            handle.setData(path, value, -1, (code, p, context, stat) -> {
                note(fromNs, code);
                if (code != 0) pause();
                next.run();
            }, null);
        }

        // A call on a lost connection fails at once: without a pause it would spin.
        void pause() { LockSupport.parkNanos(1_000_000); }

        void loop() {
            long now = System.nanoTime();
            if (now >= endsNs) over.countDown();
            else call(now, this::loop);
        }
    }

    static void openLoop(List<Client> clients, double rate, int underWayMax) throws Exception {
        Semaphore room = new Semaphore(underWayMax);
        long startNs = System.nanoTime();
        for (long i = 0; ; i++) {
            long dueNs = startNs + (long) (i / rate * 1e9);
            if (dueNs >= endsNs) break;
            while (System.nanoTime() < dueNs) LockSupport.parkNanos(dueNs - System.nanoTime());
            if (!room.tryAcquire(Math.max(0, endsNs - System.nanoTime()), TimeUnit.NANOSECONDS)) break;
            clients.get((int) (i % clients.size())).call(dueNs, room::release);
        }
        room.tryAcquire(underWayMax, 5, TimeUnit.SECONDS);
        for (Client each : clients) each.over.countDown();
    }

    static double cpuSeconds() {
        return ((com.sun.management.OperatingSystemMXBean)
            java.lang.management.ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e9;
    }

    static void report(List<Client> clients, double cpu) {
        int total = clients.stream().mapToInt(each -> each.count).sum(), at = 0;
        long[] all = new long[total];
        for (Client each : clients) {
            System.arraycopy(each.latencies, 0, all, at, each.count);
            at += each.count;
        }
        Arrays.sort(all);
        double[] shares = {0.5, 0.99, 1};
        double[] found = new double[3];
        for (int i = 0; i < 3 && total > 0; i++) found[i] = all[(int) (shares[i] * (total - 1))] / 1e6;
        long worst = clients.stream().mapToLong(each -> each.worstNs).max().orElse(0);
        System.out.printf(Locale.ROOT, "{\"ops\": %d, \"errors\": %d, \"elapsed_s\": %f, \"p50_ms\": %f, "
            + "\"p99_ms\": %f, \"max_ms\": %f, \"generator_cpu_s\": %f, \"gap_ms\": %f, \"client_gap_ms\": %f}%n",
            total, errors.get(), (endsNs - beganNs) / 1e9, found[0], found[1], found[2], cpu, gapNs / 1e6,
            worst / 1e6);
    }

    public static void main(String[] arguments) throws Exception {
        for (int i = 0; i + 1 < arguments.length; i += 2) options.put(arguments[i].substring(2), arguments[i + 1]);
        operation = options.getOrDefault("op", "put");
        keys = (int) number("keys", 1000);
        value = new byte[(int) number("value-bytes", 100)];
        Arrays.fill(value, (byte) 'x');
        int connections = (int) number("connections", 1), chains = (int) number("clients", 1);
        List<ZooKeeper> handles = new ArrayList<>();
        for (int i = 0; i < connections; i++) handles.add(connect(options.get("endpoints")));
        prefill(handles.get(0));
        List<Client> clients = new ArrayList<>();
        for (int i = 0; i < chains; i++) clients.add(new Client(handles.get(i % connections), i));
        double before = cpuSeconds();
        long startNs = System.nanoTime();
        beganNs = startNs + number("warmup-ms", 1000) * 1_000_000;
        endsNs = beganNs + number("duration-ms", 5000) * 1_000_000;
        lastAckNs = beganNs;
        System.err.println("ready");
        double rate = Double.parseDouble(options.getOrDefault("rate", "0"));
        if (rate > 0) openLoop(clients, rate, chains);
        else for (Client each : clients) each.loop();
        for (Client each : clients) each.over.await(10, TimeUnit.SECONDS);
        report(clients, cpuSeconds() - before);
        System.exit(0);
    }
}
