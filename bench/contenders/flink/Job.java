import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Runs SQL statements in one process until so many records are in a topic: OPTIONS BROKERS TOPIC COUNT STATEMENT... */
public final class Job {
    private static final long POLL_MS = 200;

    public static void main(String[] arguments) throws Exception {
        var options = new Configuration();
        for (String option : arguments[0].split("\n")) {
            options.setString(option.split("=", 2)[0], option.split("=", 2)[1]);
        }
        var tables = StreamTableEnvironment.create(StreamExecutionEnvironment.getExecutionEnvironment(options));
        TableResult last = null;
        for (int number = 4; number < arguments.length; number++) {
            last = tables.executeSql(arguments[number]);
        }
        watch(last.getJobClient().orElseThrow(), arguments[1], arguments[2], Long.parseLong(arguments[3]));
        System.exit(0);
    }

    private static void watch(JobClient job, String brokers, String topic, long count) throws Exception {
        var ended = job.getJobExecutionResult();
        var raw = new ByteArrayDeserializer();
        try (var consumer = new KafkaConsumer<>(Map.<String, Object>of("bootstrap.servers", brokers), raw, raw)) {
            var partitions = consumer.partitionsFor(topic).stream()
                    .map(each -> new TopicPartition(topic, each.partition())).toList();
            while (consumer.endOffsets(partitions).values().stream().mapToLong(Long::longValue).sum() < count) {
                if (ended.isDone()) {
                    ended.get();  // throws what ended it
                    throw new IllegalStateException("the job ended before " + count + " records were in " + topic);
                }
                Thread.sleep(POLL_MS);
            }
        }
        job.cancel().get();
    }
}
