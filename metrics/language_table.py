"""Languages and where they stand in their families: facts only, written down for this project.

Names, families and branches are after Glottolog 5 (Hammarstrom, Forkel, Haspelmath & Bank, Max Planck Institute for Evolutionary
Anthropology, https://glottolog.org), which is published under CC BY 4.0. Branches whose only purpose is to hold one language are
left out, and deep classifications are cut to the nodes that tell these languages apart and their immediate surroundings.
"""

from __future__ import annotations

SOURCE = "Glottolog 5"
LICENCE = "CC BY 4.0"

# tag | name | branches from the family downwards
TABLE = """\
af | Afrikaans | Indo-European / Germanic / West Germanic / Macro-Dutch
am | Amharic | Afro-Asiatic / Semitic / West Semitic / Ethiosemitic / South Ethiosemitic
ar | Arabic | Afro-Asiatic / Semitic / West Semitic / Central Semitic / Arabian
bg | Bulgarian | Indo-European / Balto-Slavic / Slavic / South Slavic / Eastern South Slavic
bn | Bengali | Indo-European / Indo-Iranian / Indo-Aryan / Eastern Indo-Aryan / Gauda-Kamrupa
ca | Catalan | Indo-European / Italic / Romance / Western Romance / Gallo-Iberian / East Ibero-Romance
cs | Czech | Indo-European / Balto-Slavic / Slavic / West Slavic / Czech-Slovak
cy | Welsh | Indo-European / Celtic / Insular Celtic / Brythonic
da | Danish | Indo-European / Germanic / North Germanic / East Scandinavian
de | German | Indo-European / Germanic / West Germanic / High German
el | Greek | Indo-European / Graeco-Phrygian / Greek
en | English | Indo-European / Germanic / West Germanic / North Sea Germanic / Anglic
es | Spanish | Indo-European / Italic / Romance / Western Romance / Gallo-Iberian / West Ibero-Romance / Castilic
et | Estonian | Uralic / Finnic / Southern Finnic
eu | Basque | Basque
fa | Persian | Indo-European / Indo-Iranian / Iranian / Western Iranian / Southwestern Iranian
fi | Finnish | Uralic / Finnic / Northern Finnic
fr | French | Indo-European / Italic / Romance / Western Romance / Gallo-Iberian / Oil
he | Hebrew | Afro-Asiatic / Semitic / West Semitic / Central Semitic / Northwest Semitic
hi | Hindi | Indo-European / Indo-Iranian / Indo-Aryan / Central Indo-Aryan / Western Hindi
hr | Croatian | Indo-European / Balto-Slavic / Slavic / South Slavic / Western South Slavic
hu | Hungarian | Uralic / Hungaric
hy | Armenian | Indo-European / Armenic
id | Indonesian | Austronesian / Malayo-Polynesian / Malayic
it | Italian | Indo-European / Italic / Romance / Italo-Dalmatian
ja | Japanese | Japonic / Japanesic
ka | Georgian | Kartvelian / Georgian-Zan
kk | Kazakh | Turkic / Common Turkic / Kipchak
ko | Korean | Koreanic
nl | Dutch | Indo-European / Germanic / West Germanic / Macro-Dutch
no | Norwegian | Indo-European / Germanic / North Germanic / West Scandinavian
pl | Polish | Indo-European / Balto-Slavic / Slavic / West Slavic / Lechitic
pt | Portuguese | Indo-European / Italic / Romance / Western Romance / Gallo-Iberian / West Ibero-Romance / Galician-Portuguese
ro | Romanian | Indo-European / Italic / Romance / Eastern Romance
ru | Russian | Indo-European / Balto-Slavic / Slavic / East Slavic
sv | Swedish | Indo-European / Germanic / North Germanic / East Scandinavian
sw | Swahili | Atlantic-Congo / Volta-Congo / Bantu / Northeast Coast Bantu
ta | Tamil | Dravidian / South Dravidian
te | Telugu | Dravidian / South-Central Dravidian
th | Thai | Tai-Kadai / Kam-Tai / Tai / Southwestern Tai
tl | Tagalog | Austronesian / Malayo-Polynesian / Greater Central Philippine
tr | Turkish | Turkic / Common Turkic / Oghuz
uk | Ukrainian | Indo-European / Balto-Slavic / Slavic / East Slavic
ur | Urdu | Indo-European / Indo-Iranian / Indo-Aryan / Central Indo-Aryan / Western Hindi
vi | Vietnamese | Austroasiatic / Vietic
yo | Yoruba | Atlantic-Congo / Volta-Congo / Defoid
yue | Cantonese | Sino-Tibetan / Sinitic / Yue
zh | Mandarin Chinese | Sino-Tibetan / Sinitic / Mandarin
zu | Zulu | Atlantic-Congo / Volta-Congo / Bantu / Nguni
"""
