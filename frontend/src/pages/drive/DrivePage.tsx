// The drive: folders on the left, what is in one on the right; drop anything anywhere.

import { App, Input } from "antd";
import { useWords } from "../../i18n";
import { join } from "../../api/driveQueries";
import { uploadStore } from "../../stores/uploadStore";
import { useAction } from "../useAction";
import { useUrlState } from "../useUrlState";
import { DriveHead } from "./DriveHead";
import { DriveTree } from "./DriveTree";
import { FilesView } from "./FilesView";
import { PreviewPane } from "./PreviewPane";
import { SharesView } from "./SharesView";
import { TrashView } from "./TrashView";
import { useDriveActions } from "./useDriveActions";
import { useDrop } from "./useDrop";
import "./drive.css";

export function DrivePage() {
  const { text } = useWords();
  const words = text.drive;
  const [read, write] = useUrlState();
  const { modal } = App.useApp();
  const { run } = useAction();
  const actions = useDriveActions();
  const path = read("path");
  const view = read("view");
  const file = read("file");
  const open = (to: string) => write({ path: to, q: "", page: "", view: "", file: "" });

  const isOver = useDrop((dropped) => {
    void uploadStore.add(dropped.files, path);
    void run(async () => {
      for (const folder of dropped.emptyFolders) await actions.makeFolder(join(path, folder));
    });
  });
  const newFolder = () => {
    let name = "";
    modal.confirm({
      title: words.newFolder,
      icon: null,
      content: (
        <Input
          autoFocus
          aria-label={words.newFolderName}
          onChange={(event) => (name = event.target.value)}
        />
      ),
      okText: text.save,
      onOk: () => (name ? run(() => actions.makeFolder(join(path, name))) : undefined),
    });
  };
  return (
    <div className="page wide">
      <DriveHead
        view={view}
        onView={(to) => write({ view: to, file: "" })}
        onFiles={(files) => void uploadStore.add(files, path)}
        onNewFolder={newFolder}
      />
      {view === "trash" || view === "shares" ? (
        <div className="panel flush">{view === "trash" ? <TrashView /> : <SharesView />}</div>
      ) : (
        <div className="drive">
          <div className="panel drive-tree">
            <DriveTree path={path} onOpen={open} />
          </div>
          <FilesView key={path} path={path} onOpen={open} onFile={(to) => write({ file: to })} />
        </div>
      )}
      {file && (
        <PreviewPane
          key={file}
          path={file}
          onClose={() => write({ file: "" })}
          onOpen={(to) => write({ file: to })}
        />
      )}
      {isOver && (
        <div className="drive-drop" role="status">
          {words.dropHere}
        </div>
      )}
    </div>
  );
}
