import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.permission.FsPermission;

/** Folders of HDFS with their rights, in one start of Java: each argument is PATH:MODE:OWNER. */
public class MakeFolders {
    public static void main(String[] arguments) throws Exception {
        try (FileSystem files = FileSystem.get(new Configuration())) {
            for (String argument : arguments) {
                String[] parts = argument.split(":");
                Path path = new Path(parts[0]);
                files.mkdirs(path);
                files.setPermission(path, new FsPermission(Short.parseShort(parts[1], 8)));
                files.setOwner(path, parts[2], parts[2]);
            }
        }
    }
}
