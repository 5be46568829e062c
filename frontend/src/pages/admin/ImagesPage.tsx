// What dev machines start from: registered by digest, with tools and flavors, offered or retired.

import { Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { nodeQueries } from "../../api/nodeQueries";
import { queries } from "../../api/queries";
import type { RegisteredImage } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { PlusOutlined } from "../../widgets/icons";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { NotFoundPage } from "../shell/NotFoundPage";
import { useIsNarrow } from "../machines/useIsNarrow";
import { ImageActions, ImageName, listTools, Offer, Spread } from "./ImageCells";
import { ImageDialog } from "./ImageDialog";

export function ImagesPage() {
  const { data: me } = useQuery(queries.me());
  if (!me) return null;
  return me.role === "member" ? <NotFoundPage /> : <ImagesView />;
}

function ImagesView() {
  const { text } = useWords();
  const words = text.images;
  const { col } = words;
  const images = useQuery(nodeQueries.images());
  const [asked, setAsked] = useState<RegisteredImage | "new" | null>(null);
  const isNarrow = useIsNarrow();
  const add = (
    <Button type="primary" icon={<PlusOutlined />} onClick={() => setAsked("new")}>
      {words.register}
    </Button>
  );
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} actions={add} />
      <div className="panel flush">
        <Loaded query={images}>
          {(list) => (
            <DataTable<RegisteredImage>
              rowKey="name"
              size="middle"
              scroll={isNarrow ? {} : { x: "max-content" }}
              dataSource={list}
              pagination={{ pageSize: 20, hideOnSinglePage: true }}
              locale={{ emptyText: <EmptyState title={words.empty} text={words.emptyText} /> }}
              columns={[
                {
                  title: col.image,
                  key: "image",
                  render: (_, image) => (
                    <>
                      <ImageName image={image} isNarrow={isNarrow} />
                      {isNarrow && (
                        <>
                          <Offer image={image} /> <Spread image={image} />
                          <div className="mono small">{listTools(image).join(" ")}</div>
                          <div className="machine-row">
                            <span className="muted small">
                              {col.machines} {image.num_machines} · {col.flavors}{" "}
                              {image.flavors.join(", ") || words.allFlavors}
                            </span>
                            <ImageActions image={image} onChange={() => setAsked(image)} />
                          </div>
                        </>
                      )}
                    </>
                  ),
                },
                {
                  title: col.state,
                  key: "state",
                  responsive: ["md"],
                  render: (_, image) => <Offer image={image} />,
                },
                {
                  title: col.tools,
                  key: "tools",
                  className: "mono",
                  responsive: ["md"],
                  render: (_, image) =>
                    listTools(image).map((tool) => <div key={tool}>{tool}</div>),
                },
                {
                  title: col.flavors,
                  key: "flavors",
                  responsive: ["md"],
                  render: (_, image) => (
                    <div className="words">{image.flavors.join(", ") || words.allFlavors}</div>
                  ),
                },
                {
                  title: col.machines,
                  dataIndex: "num_machines",
                  align: "right",
                  responsive: ["md"],
                  className: "num",
                },
                {
                  title: col.nodes,
                  key: "nodes",
                  responsive: ["md"],
                  render: (_, image) => (
                    <div className="words">
                      <Spread image={image} />
                    </div>
                  ),
                },
                {
                  key: "actions",
                  align: "right",
                  responsive: ["md"],
                  title: <span className="visually-hidden">{text.more}</span>,
                  render: (_, image) => (
                    <ImageActions image={image} onChange={() => setAsked(image)} />
                  ),
                },
              ]}
            />
          )}
        </Loaded>
      </div>
      {asked && (
        <ImageDialog
          key={asked === "new" ? "" : asked.name}
          known={asked === "new" ? null : asked}
          onClose={() => setAsked(null)}
        />
      )}
    </div>
  );
}
