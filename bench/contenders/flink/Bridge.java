import java.lang.reflect.Field;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.model.triton.TritonInferenceModelFunction;
import org.apache.flink.model.triton.TritonModelProviderFactory;
import org.apache.flink.table.api.TableException;
import org.apache.flink.table.catalog.ResolvedSchema;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.ml.ModelProvider;
import org.apache.flink.table.types.logical.LogicalType;

/**
 * The provider `triton` of flink-model-triton 2.3.0, as `triton-bridged`: without the two faults that keep every job
 * from starting. Requests, answers, the HTTP client and its limit of 5 requests in flight are the module's own.
 */
public final class Bridge extends TritonModelProviderFactory {
    @Override
    public String factoryIdentifier() {
        return "triton-bridged";
    }

    @Override
    public ModelProvider createModelProvider(Context context) {
        var helper = FactoryUtil.createModelProviderFactoryHelper(this, context);
        helper.validate();
        return new Provider(new Function(context, helper.getOptions()));
    }

    /** The module's function. */
    public static final class Function extends TritonInferenceModelFunction {
        public Function(Context context, ReadableConfig options) {
            super(context, options);
            dropBuffer();
        }

        /** The module's check has its condition the wrong way round: "input column TEXT should be null". */
        @Override
        protected void validateSingleColumnSchema(ResolvedSchema schema, LogicalType wanted, String side) {}

        /** A ByteArrayOutputStream that is used for compressed requests alone, and cannot be serialised. */
        private void dropBuffer() {
            try {
                Field buffer = TritonInferenceModelFunction.class.getDeclaredField("compressionBuffer");
                buffer.setAccessible(true);
                buffer.set(this, null);
            } catch (ReflectiveOperationException error) {
                throw new TableException("flink-model-triton is not version 2.3.0: pin it in pom.xml", error);
            }
        }
    }
}
