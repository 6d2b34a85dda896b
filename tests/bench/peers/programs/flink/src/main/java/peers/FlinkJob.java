package peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.datastream.KeyedStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The job in Flink's DataStream API: event-time windows, heap state, checkpoints every 10 s, exactly-once sinks. */
public final class FlinkJob {
  static final double THRESHOLD = 80;
  static final long HOLD_MS = 180_000;
  static final long WINDOW_MS = 60_000;
  static final long GRACE_MS = 30_000;
  static final AtomicBoolean STARTED = new AtomicBoolean();

  private FlinkJob() {}

  /** One reading. */
  public static class Reading {
    public String site;
    public int point;
    public long ts;
    public double value;

    public Reading() {}

    Reading(int point, long ts, double value) {
      this.point = point;
      this.ts = ts;
      this.value = value;
    }
  }

  /** A window's accumulator, and with point and w its result. */
  public static class Window {
    public int point;
    public long w;
    public long n;
    public double sum;
    public double min = Double.POSITIVE_INFINITY;
    public double max = Double.NEGATIVE_INFINITY;
  }

  /** One alert. */
  public static class Alert {
    public int point;
    public long ts;
    public long since;
  }

  /** State of a point's alert. */
  public static class Spell {
    public long since = -1;
    public long last = -1;
    public boolean fired;
  }

  static void started() {
    if (!STARTED.get() && STARTED.compareAndSet(false, true)) {
      System.out.println("MARK start");
      System.out.flush();
    }
  }

  static final class FromJson implements KafkaRecordDeserializationSchema<Reading> {
    private transient ObjectReader reader;

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Reading> out) throws IOException {
      started();
      if (reader == null) {
        reader = new ObjectMapper().readerFor(Reading.class);
      }
      out.collect(reader.readValue(record.value()));
    }

    @Override
    public TypeInformation<Reading> getProducedType() {
      return TypeInformation.of(Reading.class);
    }
  }

  static final class FromAvro implements KafkaRecordDeserializationSchema<Reading> {
    private transient BinaryDecoder decoder;

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Reading> out) throws IOException {
      started();
      decoder = DecoderFactory.get().binaryDecoder(record.value(), decoder);
      decoder.skipString();
      for (long left = decoder.readArrayStart(); left != 0; left = decoder.arrayNext()) {
        for (long i = 0; i < left; i++) {
          int point = decoder.readInt();
          long ts = decoder.readLong();
          double value = decoder.readDouble();
          decoder.readInt();
          out.collect(new Reading(point, ts, value));
        }
      }
    }

    @Override
    public TypeInformation<Reading> getProducedType() {
      return TypeInformation.of(Reading.class);
    }
  }

  static final class Fold implements AggregateFunction<Reading, Window, Window> {
    @Override
    public Window createAccumulator() {
      return new Window();
    }

    @Override
    public Window add(Reading reading, Window window) {
      window.n++;
      window.sum += reading.value;
      window.min = Math.min(window.min, reading.value);
      window.max = Math.max(window.max, reading.value);
      return window;
    }

    @Override
    public Window getResult(Window window) {
      return window;
    }

    @Override
    public Window merge(Window a, Window b) {
      a.n += b.n;
      a.sum += b.sum;
      a.min = Math.min(a.min, b.min);
      a.max = Math.max(a.max, b.max);
      return a;
    }
  }

  static final class Name extends ProcessWindowFunction<Window, Window, Integer, TimeWindow> {
    @Override
    public void process(Integer point, Context context, Iterable<Window> windows, Collector<Window> out) {
      for (Window window : windows) {
        window.point = point;
        window.w = context.window().getStart();
        out.collect(window);
      }
    }
  }

  static final class Watch extends KeyedProcessFunction<Integer, Reading, Alert> {
    private transient ValueState<Spell> spells;

    @Override
    public void open(OpenContext context) {
      spells = getRuntimeContext().getState(new ValueStateDescriptor<>("spell", Spell.class));
    }

    @Override
    public void processElement(Reading reading, Context context, Collector<Alert> out) throws Exception {
      Spell spell = spells.value();
      if (spell == null) {
        spell = new Spell();
      }
      if (reading.ts <= spell.last) {
        return;
      }
      spell.last = reading.ts;
      if (reading.value <= THRESHOLD) {
        spell.since = -1;
        spell.fired = false;
      } else if (spell.since < 0) {
        spell.since = reading.ts;
        spell.fired = false;
      } else if (!spell.fired && reading.ts - spell.since >= HOLD_MS) {
        spell.fired = true;
        Alert alert = new Alert();
        alert.point = reading.point;
        alert.ts = reading.ts;
        alert.since = spell.since;
        out.collect(alert);
      }
      spells.update(spell);
    }
  }

  static byte[] json(Window w) {
    String text = "{\"point\":" + w.point + ",\"w\":" + w.w + ",\"n\":" + w.n + ",\"sum\":" + w.sum;
    return (text + ",\"min\":" + w.min + ",\"max\":" + w.max + "}").getBytes(StandardCharsets.ISO_8859_1);
  }

  static byte[] json(Alert a) {
    String text = "{\"point\":" + a.point + ",\"ts\":" + a.ts + ",\"since\":" + a.since + "}";
    return text.getBytes(StandardCharsets.ISO_8859_1);
  }

  static <T> KafkaSink<T> sink(String prefix, KafkaRecordSerializationSchema<T> schema) {
    return KafkaSink.<T>builder()
        .setBootstrapServers(System.getenv("BOOTSTRAP"))
        .setRecordSerializer(schema)
        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .setTransactionalIdPrefix(System.getenv("NAME") + prefix)
        .setProperty("transaction.timeout.ms", "600000")
        .setProperty("linger.ms", "20")
        .setProperty("batch.size", "262144")
        .build();
  }

  public static void main(String[] arguments) throws Exception {
    final String rollups = System.getenv("ROLLUPS");
    final String alerts = System.getenv("ALERTS");
    Configuration configuration = new Configuration();
    configuration.setString("state.backend.type", "hashmap");
    configuration.setString("execution.checkpointing.storage", "filesystem");
    configuration.setString("execution.checkpointing.dir", "file://" + System.getenv("FOLDER"));
    configuration.setString("rest.port", "0");
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(2, configuration);
    environment.getConfig().enableObjectReuse();
    environment.enableCheckpointing(10_000);
    KafkaSource<Reading> source =
        KafkaSource.<Reading>builder()
            .setBootstrapServers(System.getenv("BOOTSTRAP"))
            .setTopics(System.getenv("TOPIC"))
            .setGroupId(System.getenv("NAME"))
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setBounded(OffsetsInitializer.latest())
            .setDeserializer(System.getenv("FORM").equals("json") ? new FromJson() : new FromAvro())
            .build();
    KeyedStream<Reading, Integer> readings =
        environment
            .fromSource(
                source,
                WatermarkStrategy.<Reading>forBoundedOutOfOrderness(Duration.ofMillis(GRACE_MS))
                    .withTimestampAssigner((reading, time) -> reading.ts),
                "readings")
            .keyBy(reading -> reading.point);
    DataStream<Window> windows =
        readings.window(TumblingEventTimeWindows.of(Duration.ofMillis(WINDOW_MS))).aggregate(new Fold(), new Name());
    windows.sinkTo(sink("rollups", (window, context, time) -> new ProducerRecord<>(rollups, json(window))));
    readings
        .process(new Watch())
        .sinkTo(sink("alerts", (alert, context, time) -> new ProducerRecord<>(alerts, json(alert))));
    environment.execute("rollup");
    System.out.println("MARK end");
    System.out.flush();
    System.exit(0);
  }
}
